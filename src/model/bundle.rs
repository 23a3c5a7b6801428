//! A model's files, verified.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::embedded;
use super::{
    AudioTower, BackendChoice, Bytes, Encoder, Graph, LevelNet, Manifest, ModelError, StreamEncoder, TextEncoder,
    WindowHead, load_graph,
};
use crate::words::{BIGRAMS_FILE, Bigrams, RIVALS_FILE, Rivals, unpack_rivals};

/// Files of a `stream` bundle, beside [`LEVEL_FILE`], [`RIVALS_FILE`] and [`BIGRAMS_FILE`] where it has learned them. A `jmcl` bundle has `audio.onnx` in
/// place of the first two.
pub const FILES: [&str; 5] = ["encoder.onnx", "window.onnx", "text.onnx", "g2p.onnx", "lexicon.bin"];
/// The file of a bundle that foretells levels ([`LevelNet`]).
pub const LEVEL_FILE: &str = "level.onnx";

/// A verified model: manifest and files. Clones share the files.
#[derive(Clone)]
pub struct Bundle {
    /// What it is.
    pub manifest: Manifest,
    files: Arc<BTreeMap<String, Bytes>>,
    /// Unpacked once for all clones: every worker of a search needs them.
    bigrams: Arc<Mutex<Option<Arc<Bigrams>>>>,
}

/// Lower-case hexadecimal SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Larger manifests are none, bytes.
const LARGEST_MANIFEST: u64 = 1 << 20;
/// The largest file of a bundle, bytes: the paper's towers have 35 MB.
const LARGEST_FILE: u64 = 256 << 20;

/// A whole file of at most so many bytes.
fn read(path: &Path, most: u64) -> Result<Vec<u8>, ModelError> {
    let fail = |reason| ModelError::Read { path: path.into(), reason };
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(fail)?.take(most + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > most {
        return Err(fail(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {most} bytes"))));
    }
    Ok(bytes)
}

impl Bundle {
    /// The model that ships inside the program. Its sums are checked by a test, not at every start.
    ///
    /// # Errors
    /// As [`Bundle::load`]; a released program holds a whole one.
    pub fn embedded() -> Result<Self, ModelError> {
        Self::from_program(embedded::own::MANIFEST, &[embedded::own::FILES])
    }

    /// The model inside the program that searches best: it hears half a second of what follows before it judges. Without the feature
    /// `search`, that of [`Bundle::embedded`].
    ///
    /// # Errors
    /// As [`Bundle::embedded`].
    pub fn embedded_search() -> Result<Self, ModelError> {
        #[cfg(feature = "search")]
        return Self::from_program(embedded::search::MANIFEST, &[embedded::search::FILES, embedded::own::FILES]);
        #[cfg(not(feature = "search"))]
        Self::embedded()
    }

    fn from_program(manifest: &str, files: &[&[(&str, &'static [u8])]]) -> Result<Self, ModelError> {
        Self::from_parts(Path::new("embedded manifest.toml"), manifest, |name, _| {
            let found = files.iter().flat_map(|files| files.iter()).find(|(n, _)| *n == name);
            found
                .map(|(_, bytes)| Bytes::Static(bytes))
                .ok_or_else(|| ModelError::Read { path: name.into(), reason: std::io::ErrorKind::NotFound.into() })
        })
    }

    /// Reads a bundle's folder.
    ///
    /// # Errors
    /// [`ModelError`] names the file or the field that is missing, damaged or made for something else.
    pub fn load(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join("manifest.toml");
        let not_text = |_| ModelError::Manifest { path: path.clone(), message: "it is no text".into() };
        let text = String::from_utf8(read(&path, LARGEST_MANIFEST)?).map_err(not_text)?;
        Self::from_parts(&path, &text, |name, sum| {
            let bytes = read(&dir.join(name), LARGEST_FILE)?;
            if sha256(&bytes) != sum {
                return Err(ModelError::Damaged { file: name.into() });
            }
            Ok(bytes.into())
        })
    }

    fn from_parts(
        path: &Path,
        manifest: &str,
        mut read: impl FnMut(&str, &str) -> Result<Bytes, ModelError>,
    ) -> Result<Self, ModelError> {
        let manifest: Manifest = toml::from_str(manifest).map_err(|e| ModelError::Manifest {
            path: path.into(),
            message: e.to_string().trim().replace('\n', " "),
        })?;
        manifest.check()?;
        let mut files = BTreeMap::new();
        for (name, entry) in &manifest.files {
            if name.contains(['/', '\\']) || name.starts_with('.') {
                let expected = "a plain file name".into();
                return Err(ModelError::Mismatch { field: "files".into(), got: format!("`{name}`"), expected });
            }
            files.insert(name.clone(), read(name, &entry.sha256)?);
        }
        Ok(Self { manifest, files: Arc::new(files), bigrams: Arc::default() })
    }

    /// Bytes of a file.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] if the manifest does not list it.
    pub fn file(&self, name: &str) -> Result<&Bytes, ModelError> {
        self.files.get(name).ok_or_else(|| ModelError::Mismatch {
            field: format!("files.{name}"),
            got: "missing".into(),
            expected: "the file's SHA-256".into(),
        })
    }

    fn graph(&self, name: &str, choice: BackendChoice) -> Result<Box<dyn Graph>, ModelError> {
        load_graph(self.file(name)?.clone(), name, choice)
    }

    /// A fresh encoder.
    ///
    /// # Errors
    /// If the backend cannot load it.
    pub fn encoder(&self, choice: BackendChoice) -> Result<Box<dyn Encoder>, ModelError> {
        let graph = self.graph("encoder.onnx", choice)?;
        Ok(Box::new(StreamEncoder::new(
            graph,
            self.manifest.encoder_spec()?,
            &self.manifest.encoder_section()?.states,
        )?))
    }

    /// The window head.
    ///
    /// # Errors
    /// If the backend cannot load it.
    pub fn window_head(&self, choice: BackendChoice) -> Result<WindowHead, ModelError> {
        let graph = self.graph("window.onnx", choice)?;
        Ok(WindowHead::new(graph, self.manifest.encoder_spec()?.proj_dim(), self.manifest.embedding.dim))
    }

    /// The text tower.
    ///
    /// # Errors
    /// If the backend cannot load it.
    pub fn text_encoder(&self, choice: BackendChoice) -> Result<TextEncoder, ModelError> {
        let graph = self.graph("text.onnx", choice)?;
        let parts = self.manifest.encoder.as_ref().map(|e| e.parts);
        Ok(TextEncoder::new(graph, parts, self.manifest.embedding.dim))
    }

    /// What foretells how high scores rise where a text is not said, if the model has learned that.
    ///
    /// # Errors
    /// If the backend cannot load it.
    pub fn level_net(&self, choice: BackendChoice) -> Result<Option<LevelNet>, ModelError> {
        if !self.files.contains_key(LEVEL_FILE) {
            return Ok(None);
        }
        Ok(Some(LevelNet::new(self.graph(LEVEL_FILE, choice)?)))
    }

    /// The words that compete with keywords, if the model has learned to weigh them.
    ///
    /// # Errors
    /// If they or the text tower cannot be loaded.
    pub fn rivals(&self, choice: BackendChoice) -> Result<Option<Rivals>, ModelError> {
        let Some(weights) = self.manifest.scorer.rivals else { return Ok(None) };
        let rivals = unpack_rivals(self.file(RIVALS_FILE)?)?;
        let bigrams = self.bigrams()?;
        let spelt = bigrams.rivals().len();
        if !(spelt == 0 || spelt == rivals.len()) {
            let (got, expected) = (format!("{spelt} spellings"), format!("{} as in {RIVALS_FILE}", rivals.len()));
            return Err(ModelError::Mismatch { field: BIGRAMS_FILE.into(), got, expected });
        }
        Ok(Some(Rivals::new(rivals, bigrams, self.text_encoder(choice)?, weights)))
    }

    /// Which words follow which; nothing, if the model has not learned that. Clones share them.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn bigrams(&self) -> Result<Arc<Bigrams>, ModelError> {
        let mut known = self.bigrams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bigrams) = &*known {
            return Ok(bigrams.clone());
        }
        let bigrams = Arc::new(match self.files.get(BIGRAMS_FILE) {
            Some(packed) => Bigrams::unpack(packed)?,
            None => Bigrams::default(),
        });
        *known = Some(bigrams.clone());
        Ok(bigrams)
    }

    /// The audio tower of a `jmcl` model.
    ///
    /// # Errors
    /// If the model is of another kind, or the backend cannot load it.
    pub fn audio_tower(&self, choice: BackendChoice) -> Result<AudioTower, ModelError> {
        let mels = self.manifest.towers_section()?.mels;
        let graph = self.graph("audio.onnx", choice)?;
        Ok(AudioTower::new(graph, mels, self.manifest.embedding.dim))
    }

    /// The grapheme-to-phoneme graph.
    ///
    /// # Errors
    /// If the backend cannot load it.
    pub fn g2p_graph(&self, choice: BackendChoice) -> Result<Box<dyn Graph>, ModelError> {
        self.graph("g2p.onnx", choice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_models_are_whole() {
        for bundle in [Bundle::embedded(), Bundle::embedded_search()] {
            let bundle = bundle.expect("a manifest that fits");
            for (name, entry) in &bundle.manifest.files {
                assert_eq!(sha256(bundle.file(name).expect("listed")), entry.sha256, "{name}");
            }
            assert!(FILES.iter().all(|f| bundle.file(f).is_ok()));
            let (bigrams, shared) = (bundle.bigrams().expect("whole"), bundle.clone().bigrams().expect("whole"));
            assert!(Arc::ptr_eq(&bigrams, &shared));
        }
    }

    #[test]
    fn damage_and_misfits_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |manifest: &str, encoder: &[u8]| {
            fs::write(folder.path().join("manifest.toml"), manifest).expect("room on the disk");
            for (name, bytes) in embedded::own::FILES {
                fs::write(folder.path().join(name), bytes).expect("room on the disk");
            }
            fs::write(folder.path().join("encoder.onnx"), encoder).expect("room on the disk");
            Bundle::load(folder.path()).err().map(|e| e.to_string())
        };
        let whole = embedded::own::FILES[0].1;
        assert_eq!(write(embedded::own::MANIFEST, whole), None);
        let damaged = write(embedded::own::MANIFEST, &whole[..whole.len() - 1]).expect("cut off");
        assert!(damaged.contains("encoder.onnx is damaged"), "{damaged}");
        for (from, to, field) in [
            ("opset = 17", "opset = 9", "opset"),
            ("mels = 40", "mels = 64", "mels"),
            ("\"AA\"", "\"XX\"", "text.phones"),
            ("format = 1", "format = 7", "format"),
            ("ahead = [", "ahead = [1,", "encoder.ahead"),
            ("    40,\n    2,", "    40,\n    1000000000000,", "encoder.states[0][1]"),
            ("[files.\"encoder.onnx\"]", "[files.\"../encoder.onnx\"]", "`files` is `../encoder.onnx`"),
            ("[files.\"encoder.onnx\"]", "[files.\"a/encoder.onnx\"]", "`files` is `a/encoder.onnx`"),
            ("[files.\"encoder.onnx\"]", "[files.\".encoder.onnx\"]", "`files` is `.encoder.onnx`"),
        ] {
            let error =
                write(&embedded::own::MANIFEST.replacen(from, to, 1), whole).expect("a manifest that does not fit");
            assert!(error.contains(field), "{field}: {error}");
        }
        let missing = Bundle::load(&folder.path().join("nowhere")).err().expect("no such folder").to_string();
        assert!(missing.contains("manifest.toml"), "{missing}");
    }
}
