import Glibc

/// What tells a file from another that has taken its path, without reading all of it.
///
/// The contents are hashed in samples: the first 256 KiB, in which a header lies, and 256 pieces of
/// 4 KiB at even distances, the last of which ends with the file. Files that differ only between
/// the samples have one hash.
public struct FileFingerprint: Hashable, Codable, Sendable {
  /// The size in bytes.
  public let byteCount: Int
  /// When the contents were last changed, in seconds since 1970 with nine decimals.
  public let modified: String
  /// A hash of the samples, in hexadecimal digits.
  public let contents: String
}

extension TensorSource {
  /// Takes the fingerprint of the file that the tensor lies in.
  ///
  /// - Complexity: reads 1.25 MiB at most.
  public func fingerprint() throws(TensorFileError) -> FileFingerprint { try file.fingerprint() }
}

extension ReadableFile {
  func fingerprint() throws(TensorFileError) -> FileFingerprint {
    let pieceBytes = 4096
    let pieces = 256
    var hash = SampleHash()
    try hash.add(read(at: 0, count: min(byteCount, 1 << 18)))
    if byteCount > 1 << 18 {
      for piece in 1...pieces {
        let (last, distance) = (byteCount - pieceBytes, byteCount / pieces)
        try hash.add(read(at: min(last, distance * piece), count: pieceBytes))
      }
    }
    return FileFingerprint(byteCount: byteCount, modified: modified, contents: hash.digits)
  }
}

/// The hash of Fowler, Noll and Vo (FNV-1a), 64 bits.
private struct SampleHash {
  private var state: UInt64 = 0xCBF2_9CE4_8422_2325

  mutating func add(_ bytes: [UInt8]) {
    for byte in bytes { state = (state ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
  }

  var digits: String {
    let digits = String(state, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
