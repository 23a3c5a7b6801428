//! Files that people write by hand: small ones.

use std::fs::File;
use std::io::{self, Error, ErrorKind, Read};
use std::path::Path;

/// A file of at most `most` bytes. It is its end that counts and not its size, which pipes and devices do not tell.
pub fn bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Error::new(ErrorKind::FileTooLarge, format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

/// The same, if it is text.
pub fn text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(bytes(path, most)?).map_err(|_| Error::new(ErrorKind::InvalidData, "it is no text (UTF-8)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_counts() {
        let home = tempfile::tempdir().expect("a folder");
        let file = home.path().join("a.txt");
        std::fs::write(&file, "four").expect("room on the disk");
        assert_eq!(text(&file, 4).expect("it fits"), "four");
        assert!(text(&file, 3).is_err_and(|e| e.to_string().contains("larger than 3 bytes")));
        #[cfg(unix)]
        assert!(bytes(Path::new("/dev/zero"), 1_000).is_err_and(|e| e.kind() == ErrorKind::FileTooLarge));
        std::fs::write(&file, [0xFF, 0xFE]).expect("room on the disk");
        assert!(text(&file, 4).is_err_and(|e| e.to_string().contains("no text")));
        assert!(text(home.path(), 4).is_err());
    }
}
