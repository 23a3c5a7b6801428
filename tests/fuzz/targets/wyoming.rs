//! What a Wyoming client sends.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../../src/bin/kws-live/wyoming/stream.rs"]
mod stream;
#[path = "../../../src/bin/kws-live/wyoming/wire.rs"]
mod wire;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut wire = wire::Wire::new(data);
    while let Ok(Some(event)) = wire.next() {
        if let Ok(format) = stream::Format::of(&event.data, None) {
            let _ = stream::Stream::new(format, event.data.get("timestamp").and_then(serde_json::Value::as_i64));
        }
        wire.reuse(event);
    }
});
