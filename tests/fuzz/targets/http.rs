//! The head of an HTTP request.
#![no_main]
#![allow(dead_code)]

#[path = "../../../src/bin/kws-live/http/request.rs"]
mod request;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|head: &[u8]| {
    let _ = request::Request::parse(head);
});
