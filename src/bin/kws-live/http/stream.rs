//! /events as Server-Sent Events: one a detection, and one when the device is lost or back.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use super::sink::State;
use crate::net::hang_up;

/// Silence after which something is sent: otherwise a client that is gone is never noticed.
pub(super) const BEAT: Duration = Duration::from_secs(15);

/// Sends events until the stream ends or the client leaves.
pub fn serve(mut stream: &TcpStream, state: &State) -> io::Result<()> {
    let client = state.join();
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
          X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n: listening\n\n",
    )?;
    loop {
        match client.events.recv_timeout(BEAT) {
            // The line has its end; an empty line ends the event.
            Ok(event) => {
                let text = format!("id: {}\nevent: {}\ndata: {}\n", event.number, event.kind, event.line);
                stream.write_all(text.as_bytes())?;
            }
            Err(RecvTimeoutError::Timeout) => stream.write_all(b": still here\n\n")?,
            Err(RecvTimeoutError::Disconnected) => return hang_up(stream),
        }
    }
}
