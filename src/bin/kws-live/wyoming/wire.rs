//! Events on the wire: a line of JSON, then data (more JSON) and a payload (bytes), as long as the line says.
//!
//! Every length is limited before anything is read into memory, and so is the time: see [`Limits`].

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Longest header line, bytes.
pub const HEADER: usize = 32 << 10;
/// Most data, bytes.
pub const DATA: usize = 64 << 10;
/// Largest payload, bytes: half a minute at 16 kHz, where clients send tenths of seconds.
pub const PAYLOAD: usize = 1 << 20;
/// Characters of a message that quotes what was sent.
const QUOTE: usize = 160;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its type.
    pub kind: String,
    /// Data of the header line and of the block behind it, together.
    pub data: Map<String, Value>,
    /// Bytes, such as sound.
    pub payload: Vec<u8>,
}

/// Why no more events can be read from a connection.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Nothing at all has come.
    #[error("nothing was sent for too long")]
    Idle,
    /// An event has begun and does not end.
    #[error("an event did not arrive in time")]
    Slow,
    /// The connection has ended in the middle.
    #[error("the connection ended inside an event")]
    Cut,
    /// Over a limit.
    #[error("the {what} is larger than {most} bytes")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// Not of this protocol.
    #[error("this is no Wyoming event: {0}")]
    Broken(String),
    /// The connection has failed.
    #[error("the connection was lost: {0}")]
    Lost(#[source] io::Error),
}

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "type")]
    kind: String,
    data: Option<Map<String, Value>>,
    data_length: Option<u64>,
    payload_length: Option<u64>,
}

/// Reads events from a connection.
pub struct Wire<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    data: Vec<u8>,
    payload: Vec<u8>,
}

impl Wire<Timed<'_>> {
    /// Waits for the next event; its time runs from now on if its beginning came with the end of the one before.
    pub fn rest(&mut self) {
        let begun = !self.input.buffer().is_empty();
        self.input.get_mut().rest(begun);
    }
}

impl<R: Read> Wire<R> {
    /// Holds one header line; the rest grows with what comes, up to its limit.
    pub fn new(input: R) -> Self {
        let line = Vec::with_capacity(HEADER);
        Self { input: BufReader::new(input), line, data: Vec::new(), payload: Vec::new() }
    }

    /// Takes back the memory of an event's payload, to be used for the next one.
    pub fn reuse(&mut self, event: Event) {
        self.payload = event.payload;
    }

    /// The next event; `None` once the other side has ended the connection in order.
    pub fn next(&mut self) -> Result<Option<Event>, WireError> {
        if !self.read_line()? {
            return Ok(None);
        }
        let header: Header = serde_json::from_slice(&self.line).map_err(|e| broken(&e))?;
        let mut data = header.data.unwrap_or_default();
        let length = within("data", header.data_length, DATA)?;
        if length > 0 {
            fill(&mut self.input, &mut self.data, length)?;
            let more: Map<String, Value> = serde_json::from_slice(&self.data).map_err(|e| broken(&e))?;
            data.extend(more);
        }
        let length = within("payload", header.payload_length, PAYLOAD)?;
        fill(&mut self.input, &mut self.payload, length)?;
        Ok(Some(Event { kind: header.kind, data, payload: std::mem::take(&mut self.payload) }))
    }

    /// Reads a line, without its end; false if the stream ends before its first byte.
    fn read_line(&mut self) -> Result<bool, WireError> {
        self.line.clear();
        loop {
            let piece = match self.input.fill_buf() {
                Ok(piece) => piece,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::TimedOut && self.line.is_empty() => return Err(WireError::Idle),
                // It has left without an end, between two events: as good as one.
                Err(e) if e.kind() == ErrorKind::ConnectionReset && self.line.is_empty() => return Ok(false),
                Err(e) => return Err(lost(e)),
            };
            if piece.is_empty() {
                return if self.line.is_empty() { Ok(false) } else { Err(WireError::Cut) };
            }
            let end = piece.iter().position(|b| *b == b'\n');
            let part = &piece[..end.unwrap_or(piece.len())];
            if self.line.len() + part.len() > HEADER {
                return Err(WireError::TooLarge { what: "header", most: HEADER });
            }
            self.line.extend_from_slice(part);
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

fn within(what: &'static str, length: Option<u64>, most: usize) -> Result<usize, WireError> {
    match usize::try_from(length.unwrap_or(0)) {
        Ok(length) if length <= most => Ok(length),
        _ => Err(WireError::TooLarge { what, most }),
    }
}

/// Reads exactly so many bytes, in place of what was there.
fn fill(input: &mut impl Read, out: &mut Vec<u8>, length: usize) -> Result<(), WireError> {
    out.clear();
    // No more than what was announced, and that is within its limit.
    out.reserve_exact(length);
    let got = input.take(length as u64).read_to_end(out).map_err(lost)?;
    if got < length { Err(WireError::Cut) } else { Ok(()) }
}

fn lost(error: io::Error) -> WireError {
    if error.kind() == ErrorKind::TimedOut { WireError::Slow } else { WireError::Lost(error) }
}

/// What was sent may be quoted in serde's message, and it may be long.
fn broken(error: &serde_json::Error) -> WireError {
    let text: String = error.to_string().chars().filter(|c| !c.is_control()).take(QUOTE).collect();
    WireError::Broken(text)
}

/// An event without a payload, as bytes.
pub fn encode(kind: &str, data: &Value) -> Vec<u8> {
    let data = data.to_string();
    let header = json!({ "type": kind, "data_length": data.len() });
    format!("{header}\n{data}").into_bytes()
}

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until the next event begins.
    pub idle: Duration,
    /// From an event's first byte to its last.
    pub event: Duration,
}

/// A connection that is read under a time limit.
pub struct Timed<'a> {
    stream: &'a TcpStream,
    limits: Limits,
    /// When the event that has begun must be there.
    until: Option<Instant>,
}

impl<'a> Timed<'a> {
    /// Waits for the first event.
    pub fn new(stream: &'a TcpStream, limits: Limits) -> Self {
        Self { stream, limits, until: None }
    }

    /// Waits for the next event, which may have begun.
    fn rest(&mut self, begun: bool) {
        self.until = begun.then(|| Instant::now() + self.limits.event);
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = match self.until {
            Some(until) => until.saturating_duration_since(Instant::now()),
            None => self.limits.idle,
        };
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut stream = self.stream;
        let got = stream.read(out).map_err(|e| match e.kind() {
            // Which of the two a system says.
            ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
            _ => e,
        })?;
        self.until.get_or_insert_with(|| Instant::now() + self.limits.event);
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use proptest::prelude::*;

    use super::*;

    /// Gives bytes in pieces of one size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(out.len()).min(self.0.len());
            out[..size].copy_from_slice(&self.0[..size]);
            self.0 = &self.0[size..];
            Ok(size)
        }
    }

    fn all(bytes: &[u8], size: usize) -> Result<Vec<Event>, WireError> {
        let mut wire = Wire::new(Pieces(bytes, size));
        let mut events = Vec::new();
        while let Some(event) = wire.next()? {
            events.push(event);
        }
        Ok(events)
    }

    fn error(bytes: &[u8]) -> String {
        all(bytes, 7).expect_err("broken on purpose").to_string()
    }

    #[test]
    fn data_comes_in_the_line_and_behind_it() {
        let mut bytes =
            br#"{"type":"audio-chunk","version":"9","data":{"rate":1,"width":2},"data_length":24,"payload_length":3}"#
                .to_vec();
        bytes.extend_from_slice(b"\n{\"rate\":16000, \"x\":null}abc");
        bytes.extend(encode("ping", &json!({ "text": "ä\n" })));
        bytes.extend_from_slice(b"{\"type\":\"describe\",\"data\":null,\"data_length\":0,\"payload_length\":null}\n");
        for size in [1, 2, 5, 1_000] {
            let events = all(&bytes, size).expect("they are good");
            assert_eq!(events.len(), 3);
            assert_eq!((events[0].kind.as_str(), events[0].payload.as_slice()), ("audio-chunk", &b"abc"[..]));
            assert_eq!(Value::from(events[0].data.clone()), json!({ "rate": 16_000, "width": 2, "x": null }));
            assert_eq!(events[1].data["text"], "ä\n");
            assert!(events[2].kind == "describe" && events[2].data.is_empty() && events[2].payload.is_empty());
        }
    }

    #[test]
    fn what_is_broken_is_named_in_one_short_line() {
        let long = format!("{{\"type\":{{\"{}\":1}}}}\n", "x".repeat(HEADER / 2));
        for (bytes, part) in [
            ("GET / HTTP/1.1\r\n\r\n", "no Wyoming event"),
            ("\n", "no Wyoming event"),
            ("[1]\n", "no Wyoming event"),
            ("{\"data\":{}}\n", "`type`"),
            ("{\"type\":\"a\",\"data_length\":-1}\n", "no Wyoming event"),
            ("{\"type\":\"a\",\"data\":[]}\n", "no Wyoming event"),
            ("{\"type\":\"a\",\"data_length\":2}\n[]", "no Wyoming event"),
            ("{\"type\":\"a\",\"data_length\":65537}\n", "the data is larger than 65536 bytes"),
            ("{\"type\":\"a\",\"payload_length\":1048577}\n", "the payload is larger than 1048576 bytes"),
            ("{\"type\":\"a\",\"payload_length\":18446744073709551615}\n", "the payload is larger"),
            ("{\"type\":\"a\",\"payload_length\":2}\nx", "ended inside"),
            ("{\"type\":\"a\"}", "ended inside"),
            (&"x".repeat(HEADER + 1), "the header is larger than 32768 bytes"),
            (&long, "no Wyoming event"),
        ] {
            let error = error(bytes.as_bytes());
            assert!(error.contains(part) && error.len() < 300 && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let deep = format!("{{\"type\":\"a\",\"data\":{{\"x\":{}1{}}}}}\n", "[".repeat(10_000), "]".repeat(10_000));
        assert!(error(deep.as_bytes()).contains("no Wyoming event"));
    }

    /// Two ends of a connection.
    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
        (near, listener.accept().expect("a connection").0)
    }

    #[test]
    fn silence_and_slowness_are_told_apart() {
        let limits = |idle, event| Limits { idle: Duration::from_millis(idle), event: Duration::from_millis(event) };
        let (mut near, far) = connection();
        let mut wire = Wire::new(Timed::new(&far, limits(50, 60_000)));
        assert!(matches!(wire.next(), Err(WireError::Idle)));
        near.write_all(b"{\"type\":\"a\"}\n{").expect("it is open");
        let mut wire = Wire::new(Timed::new(&far, limits(60_000, 50)));
        assert!(wire.next().is_ok_and(|e| e.is_some()));
        wire.rest();
        near.write_all(b"\"").expect("it is open");
        assert!(matches!(wire.next(), Err(WireError::Slow)));
        // A byte now and then does not help.
        let mut wire = Wire::new(Timed::new(&far, limits(60_000, 200)));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..200 {
                    if near.write_all(b" ").is_err() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            assert!(matches!(wire.next(), Err(WireError::Slow)));
        });
        // Its beginning came with the end of the one before, and the rest comes too late.
        let (mut near, far) = connection();
        near.write_all(b"{\"type\":\"a\"}\n{").expect("it is open");
        let mut wire = Wire::new(Timed::new(&far, limits(60_000, 50)));
        assert!(wire.next().is_ok_and(|e| e.is_some()));
        wire.rest();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_secs(2));
                let _ = near.write_all(b"\"type\":\"a\"}\n");
            });
            assert!(matches!(wire.next(), Err(WireError::Slow)));
        });
    }

    /// Lines that are nearly right reach further than noise does.
    fn almost() -> impl Strategy<Value = Vec<u8>> {
        let number = prop_oneof![0_i64..40, Just(-1), Just(65_536), Just(1_048_577), Just(i64::MAX)];
        let part = prop_oneof![
            ("[a-z\\-\"]{0,9}", number.clone(), number)
                .prop_map(|(kind, data, payload)| format!(
                    "{{\"type\":\"{kind}\",\"data_length\":{data},\"payload_length\":{payload}}}\n"
                ))
                .prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..60),
            Just(b"{\"rate\":1}".to_vec()),
            Just(b"\n".to_vec()),
        ];
        prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn any_bytes_end_in_order_within_the_limits(bytes in almost(), size in 1_usize..50) {
            let mut wire = Wire::new(Pieces(&bytes, size));
            let mut payload = 0;
            while let Ok(Some(event)) = wire.next() {
                payload = payload.max(event.payload.capacity());
                wire.reuse(event);
            }
            prop_assert!(wire.line.capacity() <= HEADER && wire.data.capacity() <= DATA && payload <= PAYLOAD);
            prop_assert!(wire.payload.capacity() <= PAYLOAD);
        }

        #[test]
        fn what_is_written_is_read(kind in "[a-z\\-]{1,12}", text in ".{0,40}", number in any::<i64>(), size in 1_usize..50) {
            let data = json!({ "text": text, "number": number });
            let events = all(&encode(&kind, &data), size).expect("it is good");
            prop_assert_eq!(events.len(), 1);
            prop_assert_eq!(&events[0].kind, &kind);
            prop_assert_eq!(Value::from(events[0].data.clone()), data);
        }
    }
}
