//! How files of a bundle that hold words are packed: first bytes that tell what they are, and the rest deflated (zlib).

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

/// The first bytes of a file and what follows them, deflated.
pub(crate) fn deflate(magic: &[u8], body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(magic.to_vec(), Compression::best());
    encoder.write_all(body).and_then(|()| encoder.finish()).unwrap_or_else(|_| unreachable!("memory takes it all"))
}

/// Length of what two strings begin with alike, which is what a sorted list leaves out of the second.
pub(crate) fn shared<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// What [`deflate`] was given; `None` if the file begins with something else, is cut short or holds more than `largest` bytes.
pub(crate) fn inflate(magic: &[u8], packed: &[u8], largest: u64) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    ZlibDecoder::new(packed.strip_prefix(magic)?).take(largest + 1).read_to_end(&mut body).ok()?;
    (body.len() as u64 <= largest).then_some(body)
}
