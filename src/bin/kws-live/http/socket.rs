//! /events over a WebSocket (RFC 6455): the same objects, each a text message. What a client says is read and thrown away.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Duration;

use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::sink::{Client, Turn};
use crate::net::{hang_up, is_silence, peek};

/// Messages of the client's that are read at a look.
const AT_ONCE: usize = 16;
/// Largest message of the client's, bytes.
const LARGEST: usize = 4_096;

/// Sends events until the stream ends or the client leaves.
pub fn serve(mut stream: &TcpStream, key: &str, mut client: Client) -> io::Result<()> {
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.set_read_timeout(Some(Duration::from_millis(1)))?;
    let limits = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, Some(limits));
    loop {
        let turn = client.turn();
        let rests = matches!(turn, Turn::Rest);
        match turn {
            Turn::Event(event) => socket.send(Message::text(event.line.trim_end())).map_err(reason)?,
            Turn::Beat => socket.send(Message::Ping(Vec::new().into())).map_err(reason)?,
            Turn::Rest => {}
            Turn::End => {
                socket.close(None).map_err(reason)?;
                return hang_up(stream);
            }
        }
        // What it has read already and does not show here is looked at in the next rest.
        if (rests || peek(stream)?.is_some()) && !listen(&mut socket)? {
            return hang_up(stream);
        }
    }
}

/// Reads what the client has said, and answers pings; `false` if it has said goodbye.
fn listen(socket: &mut WebSocket<&TcpStream>) -> io::Result<bool> {
    for _ in 0..AT_ONCE {
        match socket.read() {
            Ok(Message::Close(_)) => {
                // The answer is written with the next flush, which says that all is said.
                let _ = socket.flush();
                return Ok(false);
            }
            Ok(_) => {}
            Err(Error::Io(error)) if is_silence(&error) => break,
            Err(Error::ConnectionClosed) => return Ok(false),
            Err(error) => return Err(reason(error)),
        }
    }
    Ok(true)
}

fn reason(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}
