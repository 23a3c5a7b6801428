//! Ogg pages, past what is damaged.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};

use ogg::Packet;
use ogg::reading::{BasePacketReader, OggPage, PageParser};

/// How a page begins.
const CAPTURE: u32 = u32::from_be_bytes(*b"OggS");

/// So many damaged pages in a row are no Ogg file any more.
const MOST: usize = 1_000;

/// What one page completes.
pub(super) struct Page {
    /// At least one.
    pub packets: Vec<Packet>,
    /// Whether something before it was damaged and left out.
    pub after_damage: bool,
}

/// Reads page by page. Unlike `ogg::PacketReader` it goes on behind a damaged page, and begins anew where the next
/// recording of joined files has the number of the one before.
pub(super) struct Pages<R: Read + Seek> {
    source: BufReader<R>,
    /// Where `source` stands.
    at: u64,
    packets: BasePacketReader,
    /// Whether there was damage since the last page.
    damaged: bool,
    /// Places with damage so far.
    places: u64,
}

impl<R: Read + Seek> Pages<R> {
    pub fn new(source: R) -> Self {
        let mut packets = BasePacketReader::new();
        // As after a jump: it then takes what does not follow from what came before.
        packets.update_after_seek();
        Self { source: BufReader::new(source), at: 0, packets, damaged: false, places: 0 }
    }

    /// Places at which something was damaged and left out.
    pub fn places(&self) -> u64 {
        self.places
    }

    /// The next page that completes a packet; none at the end.
    pub fn next(&mut self) -> io::Result<Option<Page>> {
        loop {
            let Some((page, first)) = self.page()? else { return Ok(None) };
            if first || self.damaged {
                self.packets.update_after_seek();
            }
            if self.packets.push_page(page).is_err() {
                self.damage();
                continue;
            }
            let packets: Vec<Packet> = std::iter::from_fn(|| self.packets.read_packet()).collect();
            if !packets.is_empty() {
                return Ok(Some(Page { packets, after_damage: std::mem::take(&mut self.damaged) }));
            }
        }
    }

    fn damage(&mut self) {
        self.places += u64::from(!self.damaged);
        self.damaged = true;
    }

    /// The next page that is whole, and whether a stream begins with it.
    fn page(&mut self) -> io::Result<Option<(OggPage, bool)>> {
        for _ in 0..MOST {
            let before = self.at;
            if !self.find()? {
                return Ok(None);
            }
            let start = self.at - 4;
            if start > before {
                self.damage();
            }
            match self.parse() {
                Ok(Some(page)) => return Ok(Some(page)),
                Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(error),
                // What looked like its length may be damaged too: the next page can lie inside of it.
                Ok(None) | Err(_) => {
                    self.damage();
                    self.at = self.source.seek(SeekFrom::Start(start + 4))?;
                }
            }
        }
        Ok(None)
    }

    /// Goes to behind the next capture pattern.
    fn find(&mut self) -> io::Result<bool> {
        let mut last = 0_u32;
        loop {
            let buffer = match self.source.fill_buf() {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            let length = buffer.len();
            if length == 0 {
                return Ok(false);
            }
            let found = buffer.iter().position(|byte| {
                last = last << 8 | u32::from(*byte);
                last == CAPTURE
            });
            let used = found.map_or(length, |index| index + 1);
            self.source.consume(used);
            self.at += used as u64;
            if found.is_some() {
                return Ok(true);
            }
        }
    }

    /// The page behind its capture pattern, if it is whole.
    fn parse(&mut self) -> io::Result<Option<(OggPage, bool)>> {
        let mut header = [0; 27];
        header[..4].copy_from_slice(b"OggS");
        self.fill(&mut header[4..])?;
        let Ok((mut parser, segments)) = PageParser::new(header) else { return Ok(None) };
        let mut lengths = vec![0; segments];
        self.fill(&mut lengths)?;
        let mut body = vec![0; parser.parse_segments(lengths)];
        self.fill(&mut body)?;
        Ok(parser.parse_packet_data(body).ok().map(|page| (page, header[5] & 2 != 0)))
    }

    fn fill(&mut self, out: &mut [u8]) -> io::Result<()> {
        self.source.read_exact(out)?;
        self.at += out.len() as u64;
        Ok(())
    }
}
