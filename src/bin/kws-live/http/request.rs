//! The head of one request, under limits of size and time.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long a request may take to arrive.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Largest head, bytes.
const LARGEST: usize = 8_192;
/// Most header lines.
const HEADERS: usize = 64;

/// What is needed of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Whether only the head of the answer is wanted.
    pub head: bool,
    /// Without the query.
    pub path: String,
    /// `Host`.
    pub host: Option<String>,
    /// `Authorization`.
    pub authorization: Option<String>,
    /// `Origin`: the page that asks, if a browser does.
    pub origin: Option<String>,
    /// `Sec-WebSocket-Key`, if a WebSocket is asked for.
    pub socket: Option<String>,
}

/// Why a request is not answered as it wishes.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// Code and words.
    pub status: &'static str,
    /// A line for people.
    pub why: &'static str,
}

const BROKEN: Refused = Refused { status: "400 Bad Request", why: "this is no HTTP request\n" };
const TOO_LARGE: Refused = Refused { status: "431 Request Header Fields Too Large", why: "the request is too large\n" };
const TOO_SLOW: Refused = Refused { status: "408 Request Timeout", why: "the request did not arrive in time\n" };
const NO_KEY: Refused = Refused { status: "400 Bad Request", why: "a WebSocket needs a Sec-WebSocket-Key\n" };
const OLD_SOCKET: Refused =
    Refused { status: "426 Upgrade Required", why: "a WebSocket needs Sec-WebSocket-Version: 13\n" };
const ONLY_GET: Refused = Refused { status: "405 Method Not Allowed", why: "only GET and HEAD are answered\n" };

impl Request {
    /// Reads to the end of the head.
    pub fn read(mut stream: &TcpStream) -> io::Result<Result<Self, Refused>> {
        let until = Instant::now() + PATIENCE;
        let mut head = Vec::with_capacity(1_024);
        let mut piece = [0; 1_024];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Err(TOO_SLOW));
            }
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut piece) {
                Ok(0) => return Ok(Err(BROKEN)),
                Ok(count) => head.extend_from_slice(&piece[..count]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(Err(TOO_SLOW)),
                Err(e) => return Err(e),
            }
            if head.len() > LARGEST {
                return Ok(Err(TOO_LARGE));
            }
            if let Some(outcome) = Self::parse(&head) {
                return Ok(outcome);
            }
        }
    }

    /// `None` if more must come.
    pub fn parse(head: &[u8]) -> Option<Result<Self, Refused>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(head) {
            Ok(httparse::Status::Partial) => return None,
            Ok(httparse::Status::Complete(_)) => {}
            Err(httparse::Error::TooManyHeaders) => return Some(Err(TOO_LARGE)),
            Err(_) => return Some(Err(BROKEN)),
        }
        let head = match request.method {
            Some("GET") => false,
            Some("HEAD") => true,
            _ => return Some(Err(ONLY_GET)),
        };
        // Several of one kind are a trick, and so are bytes that are no text: such a header is there and matches nothing.
        let header = |name: &str| {
            let mut all = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name));
            let first = all.next()?;
            let text = if all.next().is_some() { "" } else { std::str::from_utf8(first.value).unwrap_or_default() };
            Some(text.trim().to_owned())
        };
        // RFC 6455, sections 4.2.1 and 4.4.
        let upgrades = header("upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket"));
        let socket = header("sec-websocket-key").filter(|key| upgrades && !key.is_empty());
        if upgrades && socket.is_none() {
            return Some(Err(NO_KEY));
        }
        if upgrades && header("sec-websocket-version").as_deref() != Some("13") {
            return Some(Err(OLD_SOCKET));
        }
        let path = request.path.unwrap_or_default();
        Some(Ok(Self {
            head,
            path: path.split(['?', '#']).next().unwrap_or_default().to_owned(),
            host: header("host"),
            authorization: header("authorization"),
            origin: header("origin"),
            socket,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_in_any_pieces() {
        let head = b"GET /events?x=1 HTTP/1.1\r\nHost: localhost:80\r\nAuthorization: Bearer abc \r\n\r\n";
        for cut in 1..head.len() {
            assert_eq!(Request::parse(&head[..cut]), None, "{cut}");
        }
        let request = Request::parse(head).expect("it is whole").expect("it is good");
        assert_eq!((request.path.as_str(), request.host.as_deref()), ("/events", Some("localhost:80")));
        assert_eq!((request.authorization.as_deref(), request.head), (Some("Bearer abc"), false));
        let request = Request::parse(b"HEAD / HTTP/1.1\r\n\r\n").expect("it is whole");
        assert!(request.is_ok_and(|request| request.head));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let many = "GET / HTTP/1.1\r\n".to_owned() + &"a: b\r\n".repeat(HEADERS + 1) + "\r\n";
        for (head, status) in
            [("\0\0\0", "400"), ("GET / HTTP/9\r\n\r\n", "400"), ("POST / HTTP/1.1\r\n\r\n", "405"), (&many, "431")]
        {
            let refused = Request::parse(head.as_bytes()).expect("an answer").expect_err("broken on purpose");
            assert!(refused.status.starts_with(status), "{head}: {refused:?}");
        }
    }

    #[test]
    fn a_socket_is_asked_for_with_a_key() {
        for (headers, key) in [
            ("Upgrade: WebSocket\r\nSec-WebSocket-Key: abc==\r\nSec-WebSocket-Version: 13\r\n", Ok(Some("abc=="))),
            ("Upgrade: h2c\r\nSec-WebSocket-Key: abc==\r\n", Ok(None)),
            ("Sec-WebSocket-Key: abc==\r\n", Ok(None)),
            ("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", Err(NO_KEY)),
            ("Upgrade: websocket\r\nSec-WebSocket-Key: abc==\r\nSec-WebSocket-Version: 8\r\n", Err(OLD_SOCKET)),
            ("Upgrade: websocket\r\nSec-WebSocket-Key: abc==\r\n", Err(OLD_SOCKET)),
        ] {
            let head = format!("GET /events HTTP/1.1\r\n{headers}\r\n");
            let socket = Request::parse(head.as_bytes()).expect("it is whole").map(|request| request.socket);
            assert_eq!(socket, key.map(|key| key.map(str::to_owned)), "{headers}");
        }
    }

    #[test]
    fn a_header_that_comes_twice_does_not_count() {
        let head = b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n";
        let request = Request::parse(head).expect("it is whole").expect("it is good");
        assert_eq!(request.host.as_deref(), Some(""));
    }

    #[test]
    fn a_header_that_is_no_text_is_there_and_matches_nothing() {
        let head = b"GET / HTTP/1.1\r\nHost: evil\xff\r\nOrigin: http://evil\xff\r\n\r\n";
        let request = Request::parse(head).expect("it is whole").expect("it is good");
        assert_eq!((request.host.as_deref(), request.origin.as_deref()), (Some(""), Some("")));
    }
}
