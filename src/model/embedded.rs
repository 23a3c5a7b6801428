//! The default bundle, inside the program: it is found also after `cargo install`.

/// `models/default/manifest.toml`.
pub const MANIFEST: &str = include_str!("../../models/default/manifest.toml");

/// Its files.
pub const FILES: [(&str, &[u8]); 5] = [
    ("encoder.onnx", include_bytes!("../../models/default/encoder.onnx")),
    ("window.onnx", include_bytes!("../../models/default/window.onnx")),
    ("text.onnx", include_bytes!("../../models/default/text.onnx")),
    ("g2p.onnx", include_bytes!("../../models/default/g2p.onnx")),
    ("lexicon.bin", include_bytes!("../../models/default/lexicon.bin")),
];
