//! PNG encoder for pictures: RGB with 8 bits per channel, no interlacing.
//!
//! Source: W3C, Portable Network Graphics (PNG) Specification, third edition.

use std::io::{Result, Write};

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

/// Encodes rows of pixels, three bytes each.
pub fn encode(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>> {
    let mut data = ZlibEncoder::new(Vec::new(), Compression::default());
    for row in pixels.chunks_exact(3 * width as usize) {
        data.write_all(&[0])?; // the row's filter: none
        data.write_all(row)?;
    }
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 0]); // bits, colours, compression, filters, interlacing
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, content) in [(b"IHDR", header), (b"IDAT", data.finish()?), (b"IEND", Vec::new())] {
        let len = u32::try_from(content.len()).map_err(std::io::Error::other)?;
        let mut crc = Crc::new();
        crc.update(kind);
        crc.update(&content);
        file.extend(len.to_be_bytes());
        file.extend(kind);
        file.extend(content);
        file.extend(crc.sum().to_be_bytes());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_decoder_gives_the_pixels_back() {
        let pixels: Vec<u8> = (0..3 * 5 * 7).map(|i| (i * 37 % 251) as u8).collect();
        let file = super::encode(&pixels, 5, 7).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut back = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut back).unwrap();
        assert_eq!((info.width, info.height, info.color_type), (5, 7, png::ColorType::Rgb));
        assert_eq!(back, pixels);
    }
}
