//! SHA-256: the published answers, and the same ones from all variants however the bytes come.

use _core::sha256::{sha256_all, Digest, Kernel, Sha256};
use proptest::collection::vec;
use proptest::prelude::*;

fn hex(digest: Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn at_once(kernel: Kernel, bytes: &[u8]) -> Digest {
    let mut hash = Sha256::default();
    hash.update(kernel, bytes);
    hash.finish(kernel)
}

/// Examples of NIST for SHA-256, <https://csrc.nist.gov/projects/cryptographic-standards-and-guidelines/example-values>.
#[test]
fn the_published_answers() {
    let long = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    for kernel in Kernel::variants() {
        for (text, digest) in [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (long, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
        ] {
            assert_eq!(hex(at_once(kernel, text.as_bytes())), digest, "{kernel:?}");
        }
        let million = vec![b'a'; 1_000_000];
        let digest = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!(hex(at_once(kernel, &million)), digest, "{kernel:?}");
    }
}

proptest! {
    #[test]
    fn many_are_hashed_as_each_alone(things in vec(vec(any::<u8>(), 0..300), 0..9)) {
        let slices: Vec<&[u8]> = things.iter().map(Vec::as_slice).collect();
        let expected: Vec<Digest> = slices.iter().map(|thing| at_once(Kernel::Portable, thing)).collect();
        for kernel in Kernel::variants() {
            prop_assert_eq!(sha256_all(kernel, &slices), expected.clone());
        }
    }

    #[test]
    fn two_take_bytes_together_in_any_pieces(pieces in vec((vec(any::<u8>(), 0..200), vec(any::<u8>(), 0..200)), 0..6)) {
        for kernel in Kernel::variants() {
            let (mut a, mut b) = (Sha256::default(), Sha256::default());
            for (x, y) in &pieces {
                Sha256::update_both(kernel, (&mut a, x), (&mut b, y));
            }
            let (x, y): (Vec<_>, Vec<_>) = pieces.iter().cloned().unzip();
            prop_assert_eq!(a.finish(kernel), at_once(Kernel::Portable, &x.concat()));
            prop_assert_eq!(b.finish(kernel), at_once(Kernel::Portable, &y.concat()));
        }
    }
}
