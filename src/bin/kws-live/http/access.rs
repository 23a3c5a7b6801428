//! Who may ask.

use std::net::IpAddr;

use super::request::{Refused, Request};

const NO_TOKEN: Refused =
    Refused { status: "401 Unauthorized", why: "send the header Authorization: Bearer TOKEN (see --listen-token)\n" };
const WRONG_PAGE: Refused =
    Refused { status: "403 Forbidden", why: "without a token pages of other sites are not answered\n" };
const WRONG_HOST: Refused =
    Refused { status: "403 Forbidden", why: "without a token only localhost and loopback addresses are answered\n" };

/// With a token: whoever sends it. Without: programs of this machine, by its loopback name.
pub struct Access {
    token: Option<String>,
}

impl Access {
    /// `None` where the port is bound to this machine.
    pub fn new(token: Option<String>) -> Self {
        Self { token }
    }

    /// Whether this request is answered.
    pub fn check(&self, request: &Request) -> Result<(), Refused> {
        match &self.token {
            Some(token) => {
                let (kind, sent) = request.authorization.as_deref().and_then(|a| a.split_once(' ')).unwrap_or_default();
                let good = kind.eq_ignore_ascii_case("bearer") && same(sent.trim().as_bytes(), token.as_bytes());
                if good { Ok(()) } else { Err(NO_TOKEN) }
            }
            // A page in a browser on this machine can be made to ask here under a name of its own: DNS rebinding.
            None if request.host.as_deref().is_some_and(|host| !local(host)) => Err(WRONG_HOST),
            // Nor do browsers keep a page of another site from opening a WebSocket here; they only say whose it is.
            None if request.origin.as_deref().is_some_and(|page| !local_page(page)) => Err(WRONG_PAGE),
            None => Ok(()),
        }
    }
}

/// Takes as long for any guess of the right length.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}

/// `localhost` or a loopback address, with a port or without.
fn local(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').unwrap_or_default(),
        None => host.split_at(host.rfind(':').unwrap_or(host.len())),
    };
    if !port.is_empty() && port.strip_prefix(':').is_none_or(|port| !port.bytes().all(|b| b.is_ascii_digit())) {
        return false;
    }
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A page whose site is [`local`].
fn local_page(origin: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, host)| local(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(host: Option<&str>, authorization: Option<&str>) -> Request {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Request {
            head: false,
            path: "/".into(),
            host: own(host),
            authorization: own(authorization),
            origin: None,
            socket: None,
        }
    }

    #[test]
    fn pages_of_other_sites_are_not_answered() {
        let access = Access::new(None);
        for (origin, good) in [
            ("http://localhost:8080", true),
            ("http://127.0.0.1", true),
            ("https://evil.example", false),
            ("http://localhost.evil.example", false),
            ("null", false),
            ("", false),
        ] {
            let request = Request { origin: Some(origin.into()), ..request(Some("localhost"), None) };
            assert_eq!(access.check(&request).is_ok(), good, "{origin}");
        }
    }

    #[test]
    fn without_a_token_only_local_names_are_answered() {
        let access = Access::new(None);
        for host in ["localhost", "localhost:81", "127.0.0.1:81", "[::1]:81", "[::1]", "LOCALHOST"] {
            assert!(access.check(&request(Some(host), None)).is_ok(), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:81",
            "192.168.0.1",
            "localhost.evil.example",
            "[::1].evil.example",
            "[::1]evil.example:81",
            "[::1",
            "localhost:evil.example",
            "",
        ] {
            assert!(access.check(&request(Some(host), None)).is_err(), "{host}");
        }
    }

    #[test]
    fn with_a_token_only_the_token_counts() {
        let access = Access::new(Some("secret".into()));
        for sent in ["Bearer secret", "bearer  secret"] {
            assert!(access.check(&request(Some("any.example"), Some(sent))).is_ok(), "{sent}");
        }
        for sent in ["Bearer secret2", "Bearer secre", "Bearer", "Basic secret", "secret", ""] {
            assert!(access.check(&request(None, Some(sent))).is_err(), "{sent}");
        }
        assert!(access.check(&request(Some("localhost"), None)).is_err());
    }
}
