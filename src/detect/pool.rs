//! Order-keeping mean pooling: a window is cut into K equal parts with fractional borders.

/// Weights of `parts` equal sub-spans of the window `[start, end)` over items of unit length.
///
/// Item `i` covers `[i, i + 1)`. Row `k` of the result holds the share of every item in part `k`; rows sum to 1.
/// Borders outside `[0, items)` are clamped, so a window that sticks out pools what exists.
///
/// # Shapes
/// `out`: `[parts, items]`, row-major, overwritten.
///
/// # Panics
/// If `out` is not `parts * items` long.
pub fn pool_weights(start: f32, end: f32, parts: usize, items: usize, out: &mut [f32]) {
    assert_eq!(out.len(), parts * items, "out is [parts, items]");
    let span = (end - start).max(1e-3);
    for (k, row) in out.chunks_exact_mut(items).enumerate() {
        let lo = (start + span * k as f32 / parts as f32).clamp(0.0, items as f32 - 1e-3);
        let hi = (start + span * (k + 1) as f32 / parts as f32).clamp(lo + 1e-3, items as f32);
        let scale = 1.0 / (hi - lo);
        for (i, w) in row.iter_mut().enumerate() {
            let overlap = hi.min(i as f32 + 1.0) - lo.max(i as f32);
            *w = overlap.max(0.0) * scale;
        }
    }
}

/// The pooling matrix of a phone sequence: `parts` equal parts over `phones` items.
///
/// # Shapes
/// Returns `[parts, phones]`, row-major.
pub fn pool_matrix(phones: usize, parts: usize) -> Vec<f32> {
    let mut out = vec![0.0; parts * phones];
    pool_weights(0.0, phones as f32, parts, phones, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_sum_to_one_and_keep_order() {
        for items in 1..30 {
            let m = pool_matrix(items, 4);
            for row in m.chunks_exact(items) {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-4, "{items}: {row:?}");
            }
        }
        assert_eq!(pool_matrix(4, 4)[..4], [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn fractional_borders_split_an_item() {
        // Two parts over [0.5, 3.5): the middle item is shared half and half.
        let mut w = [0.0; 8];
        pool_weights(0.5, 3.5, 2, 4, &mut w);
        let want = [1.0 / 3.0, 2.0 / 3.0, 0.0, 0.0, 0.0, 0.0, 2.0 / 3.0, 1.0 / 3.0];
        for (a, b) in w.iter().zip(want) {
            assert!((a - b).abs() < 1e-5, "{w:?}");
        }
    }
}
