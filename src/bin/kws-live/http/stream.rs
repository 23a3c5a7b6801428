//! /events as Server-Sent Events: one a detection, and one when the device is lost or back.

use std::io::{self, Write};
use std::net::TcpStream;

use super::sink::{Client, Turn};
use crate::net::{hang_up, peek};

/// Sends events until the stream ends or the client leaves.
pub fn serve(mut stream: &TcpStream, mut client: Client) -> io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
          X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n: listening\n\n",
    )?;
    loop {
        match client.turn() {
            // The line has its end; an empty line ends the event.
            Turn::Event(event) => {
                let text = format!("id: {}\nevent: {}\ndata: {}\n", event.number, event.kind, event.line);
                stream.write_all(text.as_bytes())?;
            }
            Turn::Beat => stream.write_all(b": still here\n\n")?,
            Turn::Rest => {}
            Turn::End => return hang_up(stream),
        }
        // If it has closed the connection, its place is another's at once, not after two beats.
        if peek(stream)? == Some(0) {
            return Ok(());
        }
    }
}
