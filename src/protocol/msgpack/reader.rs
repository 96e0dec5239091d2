//! Owns reading a message's struct out of MessagePack bytes so that an error
//! names the path of the field and what was expected there, which rmp-serde's
//! own reader does not keep. Invariant: it goes no deeper than the message's
//! types do, and no list has more elements than there are bytes; so neither
//! stack nor memory can be exhausted.

use rmp::Marker;
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, EnumAccess, Unexpected, VariantAccess, Visitor};

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

    fn peek(&self) -> Result<Marker, ReadError> {
        let first = self.bytes.first().copied();
        first.map(Marker::from_u8).ok_or_else(|| ReadError::new("more bytes"))
    }

    fn marker(&mut self) -> Result<Marker, ReadError> {
        let marker = self.peek()?;
        self.bytes = &self.bytes[1..];
        Ok(marker)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let Some((array, rest)) = self.bytes.split_first_chunk() else {
            return Err(ReadError::new("more bytes"));
        };
        self.bytes = rest;
        Ok(*array)
    }

    /// The length of a text, list or map as an unsigned number of `N` bytes.
    fn length<const N: usize>(&mut self) -> Result<u32, ReadError> {
        let bytes = self.array::<N>()?;
        Ok(bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }

    fn text(&mut self, length: u32) -> Result<&'de str, ReadError> {
        let at = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((text, rest)) = self.bytes.split_at_checked(at) else {
            return Err(ReadError::new("more bytes"));
        };
        self.bytes = rest;
        std::str::from_utf8(text).map_err(|_| ReadError::new("text in UTF-8"))
    }

    /// A text, or `None` and nothing read.
    fn take_text(&mut self) -> Result<Option<&'de str>, ReadError> {
        let before = self.bytes;
        let length = match self.marker()? {
            Marker::FixStr(length) => u32::from(length),
            Marker::Str8 => self.length::<1>()?,
            Marker::Str16 => self.length::<2>()?,
            Marker::Str32 => self.length::<4>()?,
            _ => {
                self.bytes = before;
                return Ok(None);
            }
        };
        self.text(length).map(Some)
    }

    /// The number of a map's fields, or `None` and nothing read.
    fn take_map(&mut self) -> Result<Option<usize>, ReadError> {
        let before = self.bytes;
        let length = match self.marker()? {
            Marker::FixMap(length) => u32::from(length),
            Marker::Map16 => self.length::<2>()?,
            Marker::Map32 => self.length::<4>()?,
            _ => {
                self.bytes = before;
                return Ok(None);
            }
        };
        self.within_rest(length, 2).map(Some)
    }

    /// A number of elements of at least so many bytes each.
    fn within_rest(&self, length: u32, bytes: usize) -> Result<usize, ReadError> {
        let length = usize::try_from(length).ok();
        length
            .filter(|length| *length <= self.rest() / bytes)
            .ok_or_else(|| ReadError::new("no more elements than bytes that follow"))
    }

    fn visit_list<V: Visitor<'de>>(
        &mut self,
        length: u32,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let length = self.within_rest(length, 1)?;
        visitor.visit_seq(Elements { reader: self, length, next: 0 })
    }

    fn visit_fields<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, ReadError> {
        match self.take_map()? {
            Some(left) => visitor.visit_map(Fields { reader: self, left, open: "" }),
            None => Err(ReadError::new("a map")),
        }
    }
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if let Some(text) = self.take_text()? {
            return visitor.visit_borrowed_str(text);
        }
        match self.marker()? {
            Marker::Null => visitor.visit_unit(),
            Marker::False => visitor.visit_bool(false),
            Marker::True => visitor.visit_bool(true),
            Marker::FixPos(value) => visitor.visit_u8(value),
            Marker::FixNeg(value) => visitor.visit_i8(value),
            Marker::U8 => visitor.visit_u8(u8::from_be_bytes(self.array()?)),
            Marker::U16 => visitor.visit_u16(u16::from_be_bytes(self.array()?)),
            Marker::U32 => visitor.visit_u32(u32::from_be_bytes(self.array()?)),
            Marker::U64 => visitor.visit_u64(u64::from_be_bytes(self.array()?)),
            Marker::I8 => visitor.visit_i8(i8::from_be_bytes(self.array()?)),
            Marker::I16 => visitor.visit_i16(i16::from_be_bytes(self.array()?)),
            Marker::I32 => visitor.visit_i32(i32::from_be_bytes(self.array()?)),
            Marker::I64 => visitor.visit_i64(i64::from_be_bytes(self.array()?)),
            Marker::FixArray(length) => self.visit_list(u32::from(length), visitor),
            Marker::Array16 => {
                let length = self.length::<2>()?;
                self.visit_list(length, visitor)
            }
            Marker::Array32 => {
                let length = self.length::<4>()?;
                self.visit_list(length, visitor)
            }
            // Maps are structs or enums, which ask for them by name; floats,
            // binary data and extensions are in no message.
            _ => Err(de::Error::invalid_type(Unexpected::Other("another type"), &visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.peek()? != Marker::Null {
            return visitor.visit_some(self);
        }
        self.marker()?;
        visitor.visit_none()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.visit_fields(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if let Some(name) = self.take_text()? {
            return visitor.visit_enum(StrDeserializer::new(name));
        }
        if self.take_map()? != Some(1) {
            return Err(ReadError::one_of(variants));
        }
        match self.take_text()? {
            Some(name) => visitor.visit_enum(Variant { reader: self, name }),
            None => Err(ReadError::one_of(variants)),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
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

struct Fields<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: usize,
    /// The field whose name was read and whose value comes next.
    open: &'de str,
}

impl<'de> de::MapAccess<'de> for Fields<'_, 'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let Some(name) = self.reader.take_text()? else {
            return Err(ReadError::new("names of fields as text"));
        };
        self.open = name;
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(&mut *self.reader).map_err(|error| error.within(self.open))
    }
}

/// An enum's variant as a map of one field.
struct Variant<'a, 'de> {
    reader: &'a mut Reader<'de>,
    name: &'de str,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), ReadError> {
        Ok((seed.deserialize(StrDeserializer::new(self.name))?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Err(ReadError::new("its name alone").within(self.name))
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
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.reader.visit_fields(visitor).map_err(|error| error.within(self.name))
    }
}
