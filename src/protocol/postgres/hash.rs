//! FNV-1a, 64 bits: names, keys and payloads are compared by hash and never kept. It can be fed byte by byte, so a name cut by
//! a packet boundary hashes as a whole one does.

/// The hash of nothing: the unnamed statement and the unnamed portal.
pub(super) const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

const PRIME: u64 = 0x0000_0100_0000_01b3;

#[inline]
pub(super) fn byte(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(PRIME)
}

#[inline]
pub(super) fn bytes(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &b| byte(hash, b))
}

/// Hashes up to a NUL. The offset behind the NUL, or `None` where the chunk ends first.
#[inline]
pub(super) fn cstring(hash: &mut u64, chunk: &[u8]) -> Option<usize> {
    for (i, &b) in chunk.iter().enumerate() {
        if b == 0 {
            return Some(i + 1);
        }
        *hash = byte(*hash, b);
    }
    None
}
