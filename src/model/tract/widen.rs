//! Whole numbers of eight bits become floats, by whatever vectors this processor has.

// Only what is inlined is compiled for the vectors of its caller.
#![expect(clippy::inline_always)]

use pulp::{Arch, NullaryFnOnce, Scalar, Simd};

/// Vectors that can be filled from whole numbers of eight bits.
///
/// Written out for every kind, because a compiler that looks for a small program leaves the plain loop as it is.
pub(super) trait Widen: Simd {
    /// Both are equally long, by a multiple of 16.
    fn widen(self, from: &[i8], to: &mut [f32]);
}

impl Widen for Scalar {
    #[inline(always)]
    fn widen(self, from: &[i8], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = f32::from(*from);
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Widen for pulp::x86::V3 {
    #[inline(always)]
    fn widen(self, from: &[i8], to: &mut [f32]) {
        for (to, from) in to.as_chunks_mut::<16>().0.iter_mut().zip(from.as_chunks::<16>().0) {
            let low = pulp::cast(*from);
            let high = self.sse2._mm_unpackhi_epi64(low, low);
            let (low, high) = (self.avx2._mm256_cvtepi8_epi32(low), self.avx2._mm256_cvtepi8_epi32(high));
            *to = pulp::cast([self.avx._mm256_cvtepi32_ps(low), self.avx._mm256_cvtepi32_ps(high)]);
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Widen for pulp::x86::V4 {
    #[inline(always)]
    fn widen(self, from: &[i8], to: &mut [f32]) {
        for (to, from) in to.as_chunks_mut::<16>().0.iter_mut().zip(from.as_chunks::<16>().0) {
            *to = pulp::cast(self.avx512f._mm512_cvtepi32_ps(self.avx512f._mm512_cvtepi8_epi32(pulp::cast(*from))));
        }
    }
}

#[cfg(target_arch = "aarch64")]
impl Widen for pulp::aarch64::Neon {
    #[inline(always)]
    fn widen(self, from: &[i8], to: &mut [f32]) {
        for (to, from) in to.as_chunks_mut::<8>().0.iter_mut().zip(from.as_chunks::<8>().0) {
            let eight = self.neon.vmovl_s8(pulp::cast(*from));
            let (low, high) = (self.neon.vmovl_s16(self.neon.vget_low_s16(eight)), self.neon.vmovl_high_s16(eight));
            *to = pulp::cast([self.neon.vcvtq_f32_s32(low), self.neon.vcvtq_f32_s32(high)]);
        }
    }
}

/// Work that is compiled for every kind of vector.
pub(super) trait Task {
    /// Does it with this kind.
    fn run<S: Widen>(self, simd: S);
}

/// A task with the kind of vectors to do it with.
struct With<S, T>(S, T);

impl<S: Widen, T: Task> NullaryFnOnce for With<S, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.1.run(self.0);
    }
}

/// Does the task with the widest vectors that the processor has.
pub(super) fn dispatch(arch: Arch, task: impl Task) {
    match arch {
        #[cfg(target_arch = "x86_64")]
        Arch::V4(simd) => simd.vectorize(With(simd, task)),
        #[cfg(target_arch = "x86_64")]
        Arch::V3(simd) => simd.vectorize(With(simd, task)),
        #[cfg(target_arch = "aarch64")]
        Arch::Neon(simd) => simd.vectorize(With(simd, task)),
        _ => With(Scalar, task).call(),
    }
}

/// Whether the processor has vectors that [`dispatch`] was measured with; without them tract's own ways are taken.
pub(super) fn has_vectors() -> bool {
    match Arch::new() {
        #[cfg(target_arch = "x86_64")]
        Arch::V4(_) | Arch::V3(_) => true,
        // Neon not yet: the whole program was not seen to end under qemu with it.
        _ => false,
    }
}

/// Every kind of vectors that this processor has.
#[cfg(test)]
pub(super) fn arches() -> Vec<Arch> {
    let mut all = vec![Arch::Scalar, Arch::new()];
    #[cfg(target_arch = "x86_64")]
    all.extend(pulp::x86::V3::try_new().map(Arch::V3));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbers<'a>(&'a [i8], &'a mut [f32]);

    impl Task for Numbers<'_> {
        #[inline(always)]
        fn run<S: Widen>(self, simd: S) {
            simd.widen(self.0, self.1);
        }
    }

    #[test]
    fn every_number_stays_what_it_is() {
        let from: Vec<i8> = (i8::MIN..=i8::MAX).collect();
        for arch in arches() {
            let mut to = vec![0.5; from.len()];
            dispatch(arch, Numbers(&from, &mut to));
            assert!(to.iter().zip(&from).all(|(to, from)| *to == f32::from(*from)), "{arch:?}: {to:?}");
        }
    }
}
