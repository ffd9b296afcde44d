//! Who may see a page: this machine, or who has the token.

use std::net::{IpAddr, SocketAddr};

use oltr::Error;

use super::{Request, Response};

/// Lets those in who may see a page.
pub struct Guard {
    /// What a client must know, where others than this machine can connect.
    token: Option<String>,
    port: u16,
    /// What to do without it.
    remedy: &'static str,
}

impl Guard {
    /// For a page at `address`: with a new token unless only this machine reaches it.
    ///
    /// # Errors
    /// [`Error::Io`] where the system has no random numbers.
    pub fn new(address: SocketAddr, remedy: &'static str) -> oltr::Result<Guard> {
        let token = (!address.ip().is_loopback()).then(token).transpose()?;
        Ok(Guard { token, port: address.port(), remedy })
    }

    /// The address of the page, with the token.
    pub fn url(&self, address: SocketAddr) -> String {
        let query = self.token.as_ref().map(|token| format!("?token={token}")).unwrap_or_default();
        format!("http://{}/{query}", shown(address))
    }

    /// Lets a browser that came with the token keep it.
    pub fn remember(&self, request: &Request, response: &mut Response) {
        if let Some(token) = self.token.as_ref().filter(|_| request.query("token").is_some()) {
            response.headers.push(("Set-Cookie", format!("oltr={token}; HttpOnly; SameSite=Strict; Path=/")));
        }
    }

    /// Why a request is not answered, if it is not.
    pub fn refuse(&self, request: &Request) -> Option<Response> {
        let host = request.header("host").unwrap_or("");
        match &self.token {
            // A page from elsewhere, whose name was made to lead here, would say its own name.
            None if !is_here(host, self.port) => {
                return Some(Response::error(403, "the page is at 127.0.0.1 and localhost only; see --listen"));
            }
            None => {}
            Some(token) => {
                let cookie =
                    request.header("cookie").unwrap_or("").split(';').find_map(|c| c.trim().strip_prefix("oltr="));
                let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
                let given = [request.query("token"), cookie, bearer];
                if !given.into_iter().flatten().any(|given| equal(given, token)) {
                    return Some(Response::error(401, self.remedy));
                }
            }
        }
        if request.method == "POST" {
            let json = request.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
            let origin = request.header("origin").is_none_or(|origin| {
                origin.strip_prefix("http://").or(origin.strip_prefix("https://")).is_some_and(|from| from == host)
            });
            if !json || !origin {
                return Some(Response::error(403, "decisions are made on the page itself"));
            }
        }
        None
    }
}

/// The address as a browser on this machine writes it.
fn shown(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Thirty-two hexadecimal digits that nobody can guess.
fn token() -> oltr::Result<String> {
    use std::io::Read;
    let mut bytes = [0; 16];
    let source = "/dev/urandom";
    let read = std::fs::File::open(source).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|e| Error::io(source, e))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Whether `host` names this machine itself, at `port`.
fn is_here(host: &str, port: u16) -> bool {
    let name = host.strip_suffix(&format!(":{port}")).unwrap_or(host);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether two texts are equal, in a time that does not tell where they differ.
fn equal(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_here() {
        for here in ["localhost:80", "127.0.0.1:80", "[::1]:80", "localhost", "LOCALHOST:80", "127.0.0.9:80"] {
            assert!(is_here(here, 80), "{here}");
        }
        for elsewhere in ["evil.example:80", "192.168.0.2:80", "localhost.evil.example:80", "", "127.0.0.1.evil:80"] {
            assert!(!is_here(elsewhere, 80), "{elsewhere}");
        }
        assert!(equal("abc", "abc") && !equal("abc", "abd") && !equal("abc", "ab"));
    }
}
