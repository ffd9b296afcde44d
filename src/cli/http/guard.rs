//! Access control of a page: this machine, or a client with the token.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use oltr::Error;

use super::{Request, Response};

/// Browser policy of a page: only its own content, and requests to its own server.
const POLICY: &str = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Listens at `listen` for permitted clients. `remedy` is the advice for clients without a token.
///
/// # Errors
/// [`Error::Unavailable`] if the address cannot be used; as [`Guard::new`].
pub fn listen(listen: SocketAddr, remedy: &'static str) -> oltr::Result<(TcpListener, Guard)> {
    let listener = TcpListener::bind(listen).map_err(|cause| Error::Unavailable {
        subject: listen.to_string(),
        reason: format!("cannot be listened at ({cause}); choose another address or port with --listen"),
    })?;
    let guard = Guard::new(listener.local_addr().unwrap_or(listen), remedy)?;
    Ok((listener, guard))
}

/// Admits permitted clients.
pub struct Guard {
    /// The token that clients need, if other machines can connect.
    token: Option<String>,
    address: SocketAddr,
    /// Advice for a client without the token.
    remedy: &'static str,
}

impl Guard {
    /// A guard for a page at `address`. Makes a new token unless only this machine can reach it.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no random numbers.
    pub fn new(address: SocketAddr, remedy: &'static str) -> oltr::Result<Guard> {
        let token = (!address.ip().is_loopback()).then(token).transpose()?;
        Ok(Guard { token, address, remedy })
    }

    /// The address that is listened at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the page, with the token.
    pub fn url(&self) -> String {
        let query = self.token.as_ref().map(|token| format!("?token={token}")).unwrap_or_default();
        format!("http://{}/{query}", shown(self.address))
    }

    /// Name of the cookie. It contains the port, because a machine's ports share their cookies and two pages have two
    /// tokens.
    fn cookie(&self) -> String {
        format!("oltr-{}", self.address.port())
    }

    /// Answers `request` with the page `html`. Stores the token in a cookie if the browser came with it.
    pub fn page(&self, html: &str, request: &Request) -> Response {
        let mut response = Response::new(200, "text/html; charset=utf-8", html);
        response.headers.push(("Content-Security-Policy", POLICY.into()));
        if let Some(token) = self.token.as_ref().filter(|_| request.query("token").is_some()) {
            let cookie = format!("{}={token}; HttpOnly; SameSite=Strict; Path=/", self.cookie());
            response.headers.push(("Set-Cookie", cookie));
        }
        response
    }

    /// Why a request is not answered, if it is not.
    pub fn refuse(&self, request: &Request) -> Option<Response> {
        let host = request.header("host").unwrap_or("");
        match &self.token {
            // DNS rebinding: a foreign page whose name resolves to this machine would send its own name.
            None if !is_here(host, self.address.port()) => {
                return Some(Response::error(403, "the page is at 127.0.0.1 and localhost only; see --listen"));
            }
            None => {}
            Some(token) => {
                let name = self.cookie();
                let of = |cookie: &'_ str| {
                    let (is, value) = cookie.trim().split_once('=')?;
                    (is == name).then(|| value.to_string())
                };
                let cookie = request.header("cookie").unwrap_or("").split(';').find_map(of);
                let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
                let given = [request.query("token"), cookie.as_deref(), bearer];
                if !given.into_iter().flatten().any(|given| equal(given, token)) {
                    return Some(Response::error(401, self.remedy));
                }
            }
        }
        if matches!(request.method.as_str(), "POST" | "PUT") {
            // A form cannot send these content types. A script of another site needs a preflight request, which is not
            // answered.
            let kind = request.header("content-type").unwrap_or("");
            let kind = ["application/json", "image/png"].iter().any(|known| kind.starts_with(known));
            let site = request.header("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
            let origin = request.header("origin").is_none_or(|origin| {
                origin.strip_prefix("http://").or(origin.strip_prefix("https://")).is_some_and(|from| from == host)
            });
            if !kind || !site || !origin {
                return Some(Response::error(403, "what changes something is sent by the page itself"));
            }
        }
        None
    }
}

/// The address as a browser writes it.
fn shown(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(own_address().unwrap_or(Ipv4Addr::LOCALHOST)),
        IpAddr::V6(ip) if ip.is_unspecified() => own_address().map_or(IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// This machine's address in its network: the source address of a route to a far host; without such a route (a network
/// of the device's own) the first address that the kernel calls local. Sends nothing.
fn own_address() -> Option<Ipv4Addr> {
    let far = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9));
    let way_out = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect(far)?;
        socket.local_addr()
    });
    let way_out = way_out.ok().and_then(|address| match address.ip() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    });
    let table = || std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    way_out.filter(|ip| !ip.is_loopback() && !ip.is_unspecified()).or_else(|| first_local(&table()))
}

/// The first address in the kernel's table of routes that is this machine's and not its loop.
fn first_local(table: &str) -> Option<Ipv4Addr> {
    let mut last = None;
    table.lines().find_map(|line| {
        if let Some(address) = line.trim_start().strip_prefix("|-- ") {
            last = address.trim().parse::<Ipv4Addr>().ok();
        }
        last.filter(|ip| line.trim() == "/32 host LOCAL" && !ip.is_loopback())
    })
}

/// Thirty-two random hexadecimal digits.
fn token() -> oltr::Result<String> {
    use std::io::Read;
    let mut bytes = [0; 16];
    let source = "/dev/urandom";
    let read = std::fs::File::open(source).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|e| Error::io(source, e))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Whether `host` is this machine at `port`.
fn is_here(host: &str, port: u16) -> bool {
    let name = host.strip_suffix(&format!(":{port}")).unwrap_or(host);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Compares two texts in constant time.
fn equal(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_on_two_ports_of_one_machine_keep_their_tokens() {
        let guard = |port| Guard::new(SocketAddr::from(([192, 168, 0, 2], port)), "x").unwrap();
        let (one, other) = (guard(8080), guard(8484));
        let cookie = |guard: &Guard| {
            let query = guard.url().split_once('?').unwrap().1.to_string();
            let page = guard.page("", &Request { query, ..Request::default() });
            let set = page.headers.iter().find(|(name, _)| *name == "Set-Cookie").unwrap().1.clone();
            set.split_once(';').unwrap().0.to_string()
        };
        // A browser sends both to each.
        let both = format!("{}; {}", cookie(&one), cookie(&other));
        let request = Request { method: "GET".into(), headers: vec![("cookie".into(), both)], ..Request::default() };
        assert!(one.refuse(&request).is_none() && other.refuse(&request).is_none());
        assert_eq!(guard(8080).refuse(&request).unwrap().status, 401, "another token");
    }

    #[test]
    fn the_network_address_is_found() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 127.0.0.0/8 2 0 2\n        |-- 127.0.0.1\n\
            /32 host LOCAL\n        |-- 10.42.0.0\n           /24 link UNICAST\n        |-- 10.42.0.1\n           /32 host LOCAL\n";
        assert_eq!(first_local(table), Some(Ipv4Addr::new(10, 42, 0, 1)));
        assert_eq!(first_local("Main:\n |-- 127.0.0.1\n /32 host LOCAL\n |-- x\n /32 host LOCAL\n"), None);
        assert_eq!(first_local(""), None);
        // The address belongs to this machine, on any network.
        if let Some(own) = own_address() {
            assert!(!own.is_loopback() && UdpSocket::bind((own, 0)).is_ok(), "{own}");
        }
        let url = Guard::new(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)), "x").unwrap().url();
        let shown = own_address().unwrap_or(Ipv4Addr::LOCALHOST);
        assert!(url.starts_with(&format!("http://{shown}:8080/?token=")), "{url}");
    }

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
