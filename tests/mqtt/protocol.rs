//! A broker that breaks the protocol: a few bytes by hand.

use std::io::Read;
use std::net::{TcpListener, TcpStream};

use super::common::PATIENCE;
use super::*;

/// Reads a packet; its first byte.
fn packet(stream: &mut TcpStream) -> u8 {
    let mut byte = [0; 1];
    let mut next = |stream: &mut TcpStream| stream.read_exact(&mut byte).map(|()| byte[0]).expect("a packet");
    let kind = next(stream);
    let (mut length, mut shift) = (0, 0);
    loop {
        let digit = next(stream);
        length |= usize::from(digit & 0x7f) << shift;
        shift += 7;
        if digit < 0x80 {
            break;
        }
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).expect("all of it");
    kind
}

#[test]
fn a_broker_that_breaks_the_protocol_is_connected_to_again() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("mqtt://{}", listener.local_addr().expect("an address"));
    let mut live = Live::start(&["--keywords", "hello", "--mqtt", &url]);
    let accept = || {
        let mut stream = listener.accept().expect("it connects").0;
        stream.set_read_timeout(Some(PATIENCE)).expect("a number");
        assert_eq!(packet(&mut stream) >> 4, 1, "it begins with CONNECT");
        stream.write_all(&[0x20, 3, 0, 0, 0]).expect("it reads");
        stream
    };
    let mut first = accept();
    // No topic, and an alias that was never given one.
    first.write_all(&[0x30, 6, 0, 0, 3, 0x23, 0, 5]).expect("it reads");
    let line = live.running.note("events wait, it is tried again");
    assert!(line.contains("protocol error"), "{line}");
    let _second = accept();
    live.running.note("is there again");
    drop(first);
    assert_eq!(live.end().0.code(), Some(0));
}
