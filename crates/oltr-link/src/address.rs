//! The address of a broker.

/// Address of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Host name or IP address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// User and password, if the address contains them.
    pub login: Option<(String, Option<String>)>,
}

impl Address {
    /// Reads `mqtt://[USER[:PASSWORD]@]HOST[:PORT][/]`, or `mqtts://`.
    ///
    /// # Errors
    /// A text that says what is wrong with the address.
    pub fn parse(text: &str) -> Result<Address, String> {
        let (scheme, rest) = text.split_once("://").ok_or("begins with neither mqtt:// nor mqtts://")?;
        let (tls, default) = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" | "tcp" => (false, 1883),
            "mqtts" | "ssl" => (true, 8883),
            _ => return Err(format!("has the scheme {scheme}; it is mqtt or mqtts")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        if place.contains(['/', '?', '#']) {
            return Err("has something behind the port; topics follow from --device".into());
        }
        let (host, port) = match place.strip_prefix('[') {
            // An IPv6 address.
            Some(rest) => {
                let (host, behind) = rest.split_once(']').ok_or("has no ] behind its host")?;
                (host, behind.strip_prefix(':').or(behind.is_empty().then_some("")).ok_or("has no port behind ]")?)
            }
            None => match place.split_once(':') {
                Some((_, port)) if port.contains(':') => return Err("writes IPv6 without brackets: [::1]".into()),
                Some((host, port)) => (host, port),
                None => (place, ""),
            },
        };
        if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("names no host".into());
        }
        let port = match port {
            "" => default,
            port => port.parse().ok().filter(|port| *port > 0).ok_or("has a port that is no number from 1 to 65535")?,
        };
        let login = login
            .map(|login| -> Result<_, String> {
                let (user, password) = match login.split_once(':') {
                    Some((user, password)) => (user, Some(decode(password)?)),
                    None => (login, None),
                };
                Ok((decode(user)?, password))
            })
            .transpose()?;
        Ok(Address { host: host.into(), port, tls, login })
    }
}

impl std::fmt::Display for Address {
    /// Leaves out the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// Decodes `%41` and the like.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()].map(|digit| digit.and_then(|d| (d as char).to_digit(16)));
        let [Some(high), Some(low)] = digits else { return Err("has a % without two hexadecimal digits".into()) };
        bytes.push((high << 4 | low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| "has a name or password that is not UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let parse = |text| Address::parse(text).map(|a| (a.host.clone(), a.port, a.tls, a.to_string()));
        let of = |host: &str, port, tls, text: &str| Ok((host.to_string(), port, tls, text.to_string()));
        assert_eq!(parse("mqtt://broker"), of("broker", 1883, false, "mqtt://broker:1883"));
        assert_eq!(parse("MQTTS://a.b/"), of("a.b", 8883, true, "mqtts://a.b:8883"));
        assert_eq!(parse("mqtt://127.0.0.1:18"), of("127.0.0.1", 18, false, "mqtt://127.0.0.1:18"));
        assert_eq!(parse("mqtt://[::1]:18"), of("::1", 18, false, "mqtt://[::1]:18"));
        assert_eq!(parse("mqtt://[fe80::1]"), of("fe80::1", 1883, false, "mqtt://[fe80::1]:1883"));
        // The displayed address leaves out the password.
        assert_eq!(parse("mqtt://me:p%40ss@h"), of("h", 1883, false, "mqtt://h:1883"));
        let login = Address::parse("mqtt://m%65:p%40:s@h").unwrap().login;
        assert_eq!(login, Some(("me".into(), Some("p@:s".into()))));
        for bad in [
            "broker",
            "http://a",
            "mqtt://",
            "mqtt://a:0",
            "mqtt://a:70000",
            "mqtt://a:x",
            "mqtt://a/b",
            "mqtt://::1",
            "mqtt://[::1",
            "mqtt://[::1]x",
            "mqtt://a b",
            "mqtt://%4@h",
            "mqtt://%ff@h",
            "mqtt://:1",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
