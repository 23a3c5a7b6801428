//! What a student learns from a teacher (Hinton et al., arXiv 1503.02531) that hears the same crops without what makes them hard to
//! hear (Li et al., arXiv 1708.05466).

use tch::{Kind, Tensor};

use super::row_products;

/// Kullback-Leibler divergence of the student's phone posteriors from the teacher's, summed over frames: at temperature 1 the
/// teacher's say where a phone lies and with what it could be confused, which CTC's targets do not.
///
/// # Shapes
/// Log probabilities, `[frames, crops, classes]` both.
pub fn posterior_divergence(student: &Tensor, teacher: &Tensor) -> Tensor {
    (teacher.exp() * (teacher - student)).sum(Kind::Float)
}

/// One minus the cosine of the student's and the teacher's embedding of a window, on average: both spaces become one.
///
/// # Shapes
/// Unit-norm rows, `[windows, D]` both.
pub fn embedding_distance(student: &Tensor, teacher: &Tensor) -> Tensor {
    1.0 - row_products(student, teacher).mean(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_and_two_windows_by_hand() {
        let logs = |p: &[f64]| Tensor::from_slice(p).log().view([1, 1, -1]).to_kind(Kind::Float);
        let (student, teacher) = (logs(&[0.5, 0.25, 0.25]), logs(&[0.25, 0.5, 0.25]));
        let want = 0.25 * 0.5_f64.ln() + 0.5 * 2_f64.ln();
        assert!((posterior_divergence(&student, &teacher).double_value(&[]) - want).abs() < 1e-6);
        assert!(posterior_divergence(&teacher, &teacher).double_value(&[]).abs() < 1e-6);

        let student = Tensor::from_slice(&[1.0_f32, 0.0, 0.6, 0.8]).view([2, 2]);
        let teacher = Tensor::from_slice(&[1.0_f32, 0.0, 0.0, 1.0]).view([2, 2]);
        assert!((embedding_distance(&student, &teacher).double_value(&[]) - 0.1).abs() < 1e-6);
    }
}
