//! The integer types of pixels.

/// A pixel type: how many bits it has, whether it has a sign, and its value.
pub trait Pixel: Copy + Default + Ord + Send + Sync + 'static {
    /// Bytes of a pixel.
    const SIZE: usize;
    /// Whether the highest bit is a sign.
    const SIGNED: bool;
    /// Largest value.
    const LARGEST: i64;
    /// The value.
    fn value(self) -> i64;
    /// The pixel of that value, or the nearest there is.
    fn nearest(value: i64) -> Self;
    /// The bits, as an unsigned number.
    fn bits(self) -> u32;
    /// The pixel with these bits (the lowest `SIZE` bytes).
    fn from_bits(bits: u32) -> Self;
}

macro_rules! pixel {
    ($type:ty, $unsigned:ty, $signed:expr) => {
        impl Pixel for $type {
            const SIZE: usize = size_of::<$type>();
            const SIGNED: bool = $signed;
            const LARGEST: i64 = <$type>::MAX as i64;
            #[inline(always)]
            fn value(self) -> i64 {
                self as i64
            }
            #[inline(always)]
            fn nearest(value: i64) -> Self {
                value.clamp(<$type>::MIN as i64, <$type>::MAX as i64) as $type
            }
            #[inline(always)]
            fn bits(self) -> u32 {
                self as $unsigned as u32
            }
            #[inline(always)]
            fn from_bits(bits: u32) -> Self {
                bits as $unsigned as $type
            }
        }
    };
}

pixel!(u8, u8, false);
pixel!(i8, u8, true);
pixel!(u16, u16, false);
pixel!(i16, u16, true);
pixel!(u32, u32, false);
pixel!(i32, u32, true);

/// The pixels of little-endian bytes.
///
/// # Panics
/// If `bytes` is shorter than `pixels`.
pub fn from_bytes<T: Pixel>(bytes: &[u8], pixels: &mut [T]) {
    assert!(bytes.len() >= pixels.len() * T::SIZE);
    for (pixel, bytes) in pixels.iter_mut().zip(bytes.chunks_exact(T::SIZE)) {
        let mut word = [0; 4];
        word[..T::SIZE].copy_from_slice(bytes);
        *pixel = T::from_bits(u32::from_le_bytes(word));
    }
}
