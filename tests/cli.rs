//! stub
#[test]
fn s() {}
