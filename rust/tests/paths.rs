//! Whatever the pixel type, the codec, the block size and the tail: a stored image gives the answer of its pixels, to the last bit.

use _core::find::Finder;
use _core::pixel::Pixel;
use _core::planes::Cpu;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use crate::case::{block_bytes, case, for_every_pixel, Case, CODECS};
use crate::stored::{decode, encode, find, find_stored};

fn stored_as_pixels<T: Pixel + std::fmt::Debug>(case: &Case, choice: u32) {
    let mut plan = case.plan();
    let mut reused = Finder::<T>::default();
    for number in 0..2 {
        let image = case.image::<T>(number);
        let expected = find(&mut Finder::default(), &plan, &image);
        for codec in CODECS {
            let block = block_bytes(codec, T::SIZE, choice);
            let chunk = encode(&image, codec, block);
            assert_eq!(decode::<T>(&chunk, codec, image.len()).as_ref(), Some(&image));
            for cpu in Cpu::variants() {
                plan.cpu = cpu;
                let answer = find_stored(&mut reused, &plan, &chunk, codec, 0xAA);
                assert_eq!(answer.as_ref(), Ok(&expected), "{codec:?} {block} {cpu:?}");
            }
        }
        assert_eq!(find(&mut reused, &plan, &image), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.min(96)))]

    #[test]
    fn a_stored_image_is_its_pixels(case in case(), choice: u32) {
        for_every_pixel!(stored_as_pixels(&case, choice));
    }
}

/// Blocks as large as are searched as planes, and larger ones.
#[test]
fn blocks_as_large_as_the_image() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let case = case().new_tree(&mut runner).expect("a case").current();
    let case = Case { shape: (512, 520), masked: 9, mean: 3, spots: 3000, odd: 100_000, ring: 40, ..case };
    for choice in [1 << 14, 1 << 15, 1 << 16, 1 << 17, 1 << 18] {
        let plan = case.plan();
        let image = case.image::<u16>(0);
        let expected = find(&mut Finder::default(), &plan, &image);
        assert!(expected.spots.len() > 20);
        for codec in CODECS {
            let chunk = encode(&image, codec, 2 * choice);
            assert_eq!(find_stored(&mut Finder::<u16>::default(), &plan, &chunk, codec, 0).as_ref(), Ok(&expected));
        }
    }
}

#[test]
fn cases_have_something_to_find() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut spots = 0;
    let mut kept = 0;
    for _ in 0..40 {
        let case = case().new_tree(&mut runner).expect("a case").current();
        let answer = find(&mut Finder::<u16>::default(), &case.plan(), &case.image(0));
        spots += answer.numbers.0;
        kept += answer.spots.len();
    }
    assert!(kept > 100 && spots > kept, "{spots} spots, {kept} kept");
}
