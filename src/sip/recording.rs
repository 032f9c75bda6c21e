//! Recording metadata of SIPREC (RFC 7865, RFC 7866): who took part in the recorded call.
//!
//! ```text
//! <participant participant_id="..."><nameID aor="sip:bob@example.com"><name>Bob</name></nameID></participant>
//! ```
//!
//! No XML parser: only the `aor` attributes of `nameID` elements are looked for, under any namespace prefix and
//! also in a document that was cut.

use memchr::{memchr, memmem};

use super::header::{is_lws, split_where, trim};

/// Addresses of record of the participants in the order of the document, as written (XML entities not resolved).
/// One who is named twice comes twice.
pub fn participants(metadata: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = metadata;
    std::iter::from_fn(move || {
        loop {
            let name = memmem::find(rest, NAME_ID)?;
            let (before, after) = rest.split_at(name);
            let after = &after[NAME_ID.len()..];
            let (tag, behind) = after.split_at(memchr(b'>', after)?);
            rest = behind;
            // `<nameID ` or `<ns:nameID `, not a closing tag or a part of a longer name.
            let opens = matches!(before.last(), Some(b'<' | b':')) && tag.first().is_some_and(|&b| is_lws(b));
            if let Some(aor) = opens.then(|| attribute(tag, b"aor")).flatten() {
                return Some(aor);
            }
        }
    })
}

/// Value of an attribute in the inside of a start tag.
fn attribute<'a>(mut tag: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    loop {
        let equals = memchr(b'=', tag)?;
        let (key, rest) = tag.split_at(equals);
        let (_, rest) = split_where(&rest[1..], |b| !is_lws(b));
        let (&quote, rest) = rest.split_first().filter(|(quote, _)| matches!(quote, b'"' | b'\''))?;
        let (value, rest) = rest.split_at(memchr(quote, rest)?);
        if trim(key) == name {
            return Some(trim(value));
        }
        tag = &rest[1..];
    }
}

const NAME_ID: &[u8] = b"nameID";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn participants_come_in_order_whatever_the_spelling() {
        let xml = b"<?xml version=\"1.0\"?><recording xmlns='urn:ietf:params:xml:ns:recording:1'>\
            <participant participant_id=\"a\"><nameID  aor=\"sip:bob@example.com\"><name>Bob</name></nameID>\
            </participant><rs:participant><rs:nameID xml:lang=\"en\"\r\n aor = 'tel:+1'/></rs:participant>\
            <nameIDs aor=\"sip:no@x\"/><nameID x=\"1\"/><nameID aor=\"\"/><nameID aor=\"sip:cut@exam";
        let found: Vec<_> = participants(xml).map(String::from_utf8_lossy).collect();
        assert_eq!(found, ["sip:bob@example.com", "tel:+1", ""]);
    }
}
