//! A bundle inside the program: it is found also after `cargo install`. `models/default`, or with the feature `small`
//! `models/small`.

macro_rules! embed {
    ($folder:literal $(, $more:literal)*) => {
        /// Its `manifest.toml`.
        pub const MANIFEST: &str = include_str!(concat!("../../models/", $folder, "/manifest.toml"));

        /// Its files.
        pub const FILES: &[(&str, &[u8])] = &[
            ("encoder.onnx", include_bytes!(concat!("../../models/", $folder, "/encoder.onnx"))),
            ("window.onnx", include_bytes!(concat!("../../models/", $folder, "/window.onnx"))),
            ("text.onnx", include_bytes!(concat!("../../models/", $folder, "/text.onnx"))),
            ("g2p.onnx", include_bytes!(concat!("../../models/", $folder, "/g2p.onnx"))),
            ("lexicon.bin", include_bytes!(concat!("../../models/", $folder, "/lexicon.bin"))),
            $(($more, include_bytes!(concat!("../../models/", $folder, "/", $more))),)*
        ];
    };
}

#[cfg(not(feature = "small"))]
embed!("default", "rivals.bin", "level.onnx");
#[cfg(feature = "small")]
embed!("small");
