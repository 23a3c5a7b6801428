//! Export proves that the files compute what was trained, and would notice if they did not.

use std::path::Path;

use kws_live::model::Bundle;
use kws_train::export::{check, write};
use kws_train::g2p::{G2pConfig, G2pNet, prove};
use kws_train::model::StreamModel;
use tch::nn::VarStore;
use tch::{Device, no_grad};

use crate::tones;

/// A model of random weights and random running statistics, as after training.
fn model() -> StreamModel {
    let _alone = tones::alone();
    tch::manual_seed(11);
    tch::set_num_threads(1);
    let config = tones::config(1);
    let model = StreamModel::new(Device::Cpu, &config.stream, &config.text);
    no_grad(|| {
        for (name, mut value) in model.vars.variables() {
            if name.ends_with("running_mean") || name.ends_with("bias") {
                let _ = value.normal_(0.0, 0.3);
            } else if name.ends_with("running_var") {
                let _ = value.uniform_(0.5, 2.0);
            }
        }
    });
    model
}

fn exported(model: &StreamModel, out: &Path) -> Bundle {
    let checks = write(model, &tones::config(1), out, "tiny", 7, true).expect("parity");
    assert!(checks.iter().any(|c| c.name.contains("tract")));
    Bundle::load(out).expect("a bundle")
}

#[test]
fn random_weights_export_to_the_same_numbers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bundle = exported(&model(), &folder.path().join("bundle"));
    assert_eq!(bundle.manifest.name, "tiny");
    assert_eq!(bundle.manifest.encoder.as_ref().map(|e| e.delay_frames), Some(1));
    // A folder without a name cannot be written beside itself first.
    let error = write(&model(), &tones::config(1), &folder.path().join("bundle/.."), "tiny", 7, true);
    assert!(error.is_err_and(|e| e.to_string().contains("by its name")));
    assert!(Bundle::load(&folder.path().join("bundle")).is_ok(), "nothing is lost");
}

#[test]
fn a_weight_altered_after_export_is_noticed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = model();
    let bundle = exported(&model, &folder.path().join("bundle"));
    // One weight of every graph: both ends of the encoder, its heads, the window head, the text tower.
    for name in
        ["stem.conv.weight", "block1.bn2.running_var", "phone.bias", "proj.weight", "window.weight", "text.proj.weight"]
    {
        let variables = model.vars.variables();
        let Some(value) = variables.get(name) else { panic!("no `{name}` among {:?}", variables.keys()) };
        // The first number alone: a change of all of a bias would vanish in the softmax.
        let mut first = value.view([-1]).get(0);
        let before = first.copy();
        no_grad(|| first += 0.1);
        let error = check(&model, &bundle, 1).expect_err(name).to_string();
        assert!(error.contains("not exported"), "{name}: {error}");
        no_grad(|| first.copy_(&before));
    }
    check(&model, &bundle, 1).expect("the old weights are back");
}

#[test]
fn grapheme_to_phoneme_graph_computes_the_same() {
    let _alone = tones::alone();
    tch::manual_seed(11);
    tch::set_num_threads(1);
    let vars = VarStore::new(Device::Cpu);
    let config = G2pConfig { width: 24, bottleneck: 16, fine_width: 16, fine_bottleneck: 8, ..G2pConfig::default() };
    let net = G2pNet::new(&vars.root(), &config);
    let (onnx, checks) = prove(&vars, &net, &config, 3).expect("parity");
    assert!(!onnx.is_empty() && checks.len() >= 5);
}
