//! Owns reading a message's struct out of postcard bytes so that an error
//! names the path of the field, which postcard's own reader does not keep. What
//! a number or a text looks like postcard decides; what follows what, and how
//! long a list may be, is decided here. Invariant: no list has more elements
//! than there are bytes, so memory is in proportion to the bytes.

use serde::Deserialize;
use serde::de::value::U32Deserializer;
use serde::de::{
    self, DeserializeSeed, EnumAccess, Expected, IntoDeserializer, VariantAccess, Visitor,
};

use crate::protocol::read_error::ReadError;

/// Reads from the front of the bytes.
pub struct Reader<'de> {
    bytes: &'de [u8],
}

impl<'de> Reader<'de> {
    pub fn new(bytes: &'de [u8]) -> Reader<'de> {
        Reader { bytes }
    }

    /// How many bytes were not read.
    pub fn rest(&self) -> usize {
        self.bytes.len()
    }

    /// One value that has no parts.
    fn take<T: Deserialize<'de>>(&mut self, expected: &dyn Expected) -> Result<T, ReadError> {
        match ::postcard::take_from_bytes(self.bytes) {
            Ok((value, rest)) => {
                self.bytes = rest;
                Ok(value)
            }
            Err(::postcard::Error::DeserializeUnexpectedEnd) => Err(ReadError::new("more bytes")),
            Err(_) => Err(ReadError::new(expected)),
        }
    }
}

/// Values without parts: read by postcard, then given to the visitor.
macro_rules! plain {
    ($($method:ident $visit:ident $kind:ty;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let value: $kind = self.take(&visitor)?;
            visitor.$visit(value)
        })*
    };
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = ReadError;

    plain! {
        deserialize_bool visit_bool bool;
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_str visit_borrowed_str &'de str;
        deserialize_string visit_borrowed_str &'de str;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        // Bytes by position do not tell what they are.
        Err(ReadError::new(&visitor as &dyn Expected))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.take::<u8>(&visitor)? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            _ => Err(ReadError::new("0 for none, or 1")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let length: u64 = self.take(&visitor)?;
        // Every element of a message's lists takes at least one byte.
        let length = usize::try_from(length).ok().filter(|length| *length <= self.rest());
        let Some(length) = length else {
            return Err(ReadError::new("no more elements than bytes that follow"));
        };
        visitor.visit_seq(Elements { reader: self, length, next: 0 })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_seq(Fields { reader: self, names: names.iter() })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let number: u32 = self.take(&visitor)?;
        let name = usize::try_from(number).ok().and_then(|number| variants.get(number));
        match name {
            Some(name) => visitor.visit_enum(Variant { reader: self, number, name }),
            None => Err(ReadError::one_of(variants)),
        }
    }

    // No message has these: see `deserialize_any`.
    serde::forward_to_deserialize_any! {
        i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple
        tuple_struct map identifier ignored_any
    }
}

struct Elements<'a, 'de> {
    reader: &'a mut Reader<'de>,
    length: usize,
    next: usize,
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        if self.next == self.length {
            return Ok(None);
        }
        let index = self.next;
        self.next += 1;
        seed.deserialize(&mut *self.reader).map(Some).map_err(|e| e.within_element(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.length - self.next)
    }
}

/// A struct's fields: their names are known, and not written.
struct Fields<'a, 'de> {
    reader: &'a mut Reader<'de>,
    names: std::slice::Iter<'static, &'static str>,
}

impl<'de> de::SeqAccess<'de> for Fields<'_, 'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some(name) = self.names.next() else { return Ok(None) };
        seed.deserialize(&mut *self.reader).map(Some).map_err(|error| error.within(name))
    }
}

struct Variant<'a, 'de> {
    reader: &'a mut Reader<'de>,
    number: u32,
    name: &'static str,
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a, 'de> {
    type Error = ReadError;
    type Variant = Variant<'a, 'de>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), ReadError> {
        let number: U32Deserializer<ReadError> = self.number.into_deserializer();
        Ok((seed.deserialize(number)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(self.reader).map_err(|error| error.within(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        de::Deserializer::deserialize_any(self.reader, visitor)
            .map_err(|error| error.within(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        de::Deserializer::deserialize_struct(self.reader, "", names, visitor)
            .map_err(|error| error.within(self.name))
    }
}
