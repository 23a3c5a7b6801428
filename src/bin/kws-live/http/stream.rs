//! /events as Server-Sent Events: one a detection, and one when the device is lost or back.

use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use super::sink::State;
use crate::net::hang_up;

/// Silence after which something is sent: otherwise a client that is gone is never noticed.
pub(super) const BEAT: Duration = Duration::from_secs(15);
/// Longest wait for an event before it is looked whether the client is still there.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// Sends events until the stream ends or the client leaves.
pub fn serve(mut stream: &TcpStream, state: &State) -> io::Result<()> {
    let client = state.join();
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
          X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n: listening\n\n",
    )?;
    stream.set_read_timeout(Some(Duration::from_millis(1)))?;
    let mut said = Instant::now();
    loop {
        match client.events.recv_timeout(LOOK) {
            // The line has its end; an empty line ends the event.
            Ok(event) => {
                let text = format!("id: {}\nevent: {}\ndata: {}\n", event.number, event.kind, event.line);
                stream.write_all(text.as_bytes())?;
                said = Instant::now();
            }
            Err(RecvTimeoutError::Timeout) if said.elapsed() >= BEAT => {
                stream.write_all(b": still here\n\n")?;
                said = Instant::now();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return hang_up(stream),
        }
        if has_left(stream)? {
            return Ok(());
        }
    }
}

/// Whether the client has closed the connection. Its place is another's at once, not after two beats.
fn has_left(stream: &TcpStream) -> io::Result<bool> {
    match stream.peek(&mut [0]) {
        Ok(read) => Ok(read == 0),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(false),
        Err(error) => Err(error),
    }
}
