//! Owns bytes as text that people can copy, read aloud and type: base 32 in
//! Crockford's alphabet, which has no I, L, O and U, takes either case, and
//! reads I and L as 1 and O as 0. Pure.

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// `bytes` in lower case, without padding.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut held, mut bits) = (0u32, 0);
    for &byte in bytes {
        held = (held << 8) | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(DIGITS[(held >> bits) as usize & 31]));
        }
    }
    if bits > 0 {
        text.push(char::from(DIGITS[(held << (5 - bits)) as usize & 31]));
    }
    text
}

/// The bytes that `text` stands for: what [`encode`] made, and nothing else.
///
/// # Errors
/// With the first character that cannot be.
pub fn decode(text: &str) -> Result<Vec<u8>, char> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut held, mut bits) = (0u32, 0);
    for c in text.chars() {
        held = (held << 5) | digit(c).ok_or(c)?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    match text.chars().last() {
        // Bits that stand for nothing are 0, or two texts would be the same.
        Some(last) if held != 0 => Err(last),
        _ => Ok(bytes),
    }
}

fn digit(c: char) -> Option<u32> {
    let c = match c.to_ascii_lowercase() {
        'i' | 'l' => '1',
        'o' => '0',
        other => other,
    };
    let at = DIGITS.iter().position(|&digit| char::from(digit) == c)?;
    u32::try_from(at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_come_back() {
        for length in 0..40 {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 37 + 200) as u8).collect();
            assert_eq!(decode(&encode(&bytes)), Ok(bytes));
        }
    }

    #[test]
    fn takes_either_case_and_what_looks_the_same() {
        assert_eq!(decode("O1IL0000"), decode("01110000"));
        assert_eq!(decode("ABC00000"), decode("abc00000"));
        assert_eq!(decode("ab#c"), Err('#'));
        assert_eq!(decode("aü"), Err('ü'));
        assert_eq!(decode("01"), Err('1'));
    }
}
