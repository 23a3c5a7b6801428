//! Bundles inside the program: they are found also after `cargo install`. `models/default`, or with the feature `small`
//! `models/small`; with the feature `search` `models/search` as well.

macro_rules! embed {
    ($name:ident, $folder:literal $(, $more:literal)*) => {
        /// One of them.
        pub mod $name {
            macro_rules! file {
                ($file:literal) => {
                    ($file, include_bytes!(concat!("../../models/", $folder, "/", $file)))
                };
            }

            /// Its `manifest.toml`.
            pub const MANIFEST: &str = include_str!(concat!("../../models/", $folder, "/manifest.toml"));

            /// Its files.
            pub const FILES: &[(&str, &[u8])] = &[
                file!("encoder.onnx"),
                file!("window.onnx"),
                file!("text.onnx"),
                file!("level.onnx"),
                file!("rivals.bin"),
                $(file!($more),)*
            ];
        }
    };
}

#[cfg(not(feature = "small"))]
embed!(own, "default", "g2p.onnx", "lexicon.bin");
#[cfg(feature = "small")]
embed!(own, "small", "g2p.onnx", "lexicon.bin");
// Spelling and lexicon are those of the program's own.
#[cfg(feature = "search")]
embed!(search, "search", "bigrams.bin");
