//! One entry of the report as JSON (RFC 8259), appended to a buffer.
//!
//! A report has tens of keys and a few short strings an entry, and serde_json looks at each of their bytes for
//! what must be escaped. Keys are names of this program, so they are copied; strings are copied when nothing in
//! them needs more. Numbers, and the rare string that must be escaped, are left to serde_json, so both write the
//! same text.

#![allow(clippy::inline_always, reason = "on the way of every message; measured in docs/performance.md")]

use serde::Serialize;
use serde::ser::{Error as _, Impossible, SerializeMap, SerializeSeq, SerializeStruct, Serializer};
use serde_json::Error;

/// Appends `entry` to `out`.
pub(super) fn write(out: &mut Vec<u8>, entry: &impl Serialize) -> Result<(), Error> {
    entry.serialize(Value { out })
}

/// Where the next value goes.
struct Value<'o> {
    out: &'o mut Vec<u8>,
}

/// The inside of an array or object.
struct Inside<'o> {
    out: &'o mut Vec<u8>,
    /// What stands before the next element: the opening bracket, then commas.
    before: u8,
    close: u8,
}

impl<'o> Value<'o> {
    fn open(self, open: u8, close: u8) -> Inside<'o> {
        Inside { out: self.out, before: open, close }
    }

    fn by_serde_json(self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        serde_json::to_writer(self.out, value)
    }
}

impl Inside<'_> {
    #[inline(always)]
    fn element(&mut self) -> Value<'_> {
        self.out.push(self.before);
        self.before = b',';
        Value { out: self.out }
    }

    fn close(self) {
        if self.before != b',' {
            self.out.push(self.before);
        }
        self.out.push(self.close);
    }
}

/// Whether nothing must be escaped.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    match (text.last_chunk::<16>(), text.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(last), ..) => text.as_chunks::<16>().0.iter().all(are_plain) && are_plain(last),
        (_, Some(first), Some(last)) => are_plain(first) && are_plain(last),
        _ => text.iter().all(|&b| are_plain(&[b])),
    }
}

/// Three questions without a way out in the middle: each is one comparison of vectors.
#[inline(always)]
fn are_plain<const N: usize>(bytes: &[u8; N]) -> bool {
    let any = |is: fn(u8) -> bool| bytes.iter().fold(false, |found, &b| found | is(b));
    !(any(|b| b < b' ') | any(|b| b == b'"') | any(|b| b == b'\\'))
}

/// Serialisation of the types that no fact has.
macro_rules! absent {
    ($($method:ident($($argument:ty),*) -> $result:ty;)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$result, Error> {
            Err(Error::custom(concat!("no fact has ", stringify!($method))))
        })*
    };
}

/// Numbers, which are left to serde_json.
macro_rules! numbers {
    ($($method:ident($number:ty);)*) => {
        $(#[inline]
        fn $method(self, number: $number) -> Result<(), Error> {
            self.by_serde_json(&number)
        })*
    };
}

impl<'o> Serializer for Value<'o> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Inside<'o>;
    type SerializeMap = Inside<'o>;
    type SerializeStruct = Inside<'o>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeStructVariant = Impossible<(), Error>;

    numbers! {
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_f32(f32);
        serialize_f64(f64);
    }

    absent! {
        serialize_char(char) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<(), Error> {
        if !is_plain(text.as_bytes()) {
            return self.by_serde_json(text);
        }
        self.out.reserve(text.len() + 2);
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Error> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.out.push(b'"');
        self.out.extend_from_slice(variant.as_bytes());
        self.out.push(b'"');
        Ok(())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Error> {
        Err(Error::custom("no fact has serialize_newtype_variant"))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Inside<'o>, Error> {
        Ok(self.open(b'[', b']'))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Inside<'o>, Error> {
        Ok(self.open(b'{', b'}'))
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Inside<'o>, Error> {
        Ok(self.open(b'{', b'}'))
    }
}

impl SerializeSeq for Inside<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(self.element())
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

impl SerializeMap for Inside<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        key.serialize(self.element())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.out.push(b':');
        value.serialize(Value { out: self.out })
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

impl SerializeStruct for Inside<'_> {
    type Ok = ();
    type Error = Error;

    /// Inlined so that the key is copied as the constant it is.
    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
        let out = &mut *self.out;
        out.reserve(key.len() + 4);
        out.extend_from_slice(&[self.before, b'"']);
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
        self.before = b',';
        value.serialize(Value { out })
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Event, Why};
    use crate::export::samples;

    fn same(entry: &impl Serialize) {
        let mut written = Vec::new();
        write(&mut written, entry).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(entry).unwrap());
    }

    #[test]
    fn every_kind_of_fact_is_written_as_serde_json_writes_it() {
        for event in samples::events() {
            match event {
                Event::Call(mut call) => {
                    same(&call);
                    call.why = Why::from([("ring", "answered without 180 to 183"), ("mos", "\"")]);
                    call.mos = Some(f64::NAN);
                    call.call_ids.clear();
                    same(&call);
                }
                Event::Registration(registration) => same(&registration),
                Event::Stream(stream) => same(&stream),
                Event::Report(report) => same(&report),
                Event::Transfer(transfer) => same(&transfer),
                Event::Window(_) | Event::Answered(_) | Event::Expired(_) => {}
            }
        }
    }

    proptest! {
        /// forall strings: written == as serde_json writes it.
        #[test]
        fn strings_are_escaped_as_serde_json_escapes_them(text in any::<String>(), control in 0_u8..=127) {
            same(&text);
            same(&char::from(control).to_string());
        }
    }
}
