/// What a file that was taken for a tensor file really is, as its first bytes tell.
///
/// Somebody who names such a file has mostly saved with another program, or has a file that is
/// still to be fetched; "its header would be 2336927755350992246 bytes long" would not say so.
public enum FileFormat: Hashable, Sendable {
  case safetensors, npy
  /// Text in the place of a large file that is elsewhere.
  case gitLFSPointer, gitAnnexPointer
  case gguf, ggml, hdf5, pytorch, pickle, npz, zip, parquet, arrow, netCDF, matlab, tar
  case gzip, zstandard, xz, bzip2, lz4, sevenZip
  case html, xml, json, safetensorsIndex
  /// Other text, with its beginning.
  case text(String)
  /// Nothing but zeros, for so many bytes at least.
  case zeros(Int)
}

extension FileFormat {
  /// How much of a file is looked at.
  package static let headLength = 1024

  /// The error that a file is of another format, if it is clearly none of the format `expected`.
  static func refusal(
    of file: ReadableFile, insteadOf expected: FileFormat
  ) throws(TensorFileError) -> TensorFileError? {
    let head = try file.read(at: 0, count: min(file.byteCount, headLength))
    guard let format = FileFormat(head: head), format != expected else { return nil }
    return TensorFileError(
      .otherFormat(format), path: file.path,
      "it is no .\(expected == .npy ? "npy" : "safetensors") file but \(format.name)",
      remedy: format.remedy)
  }

  /// What it is, for a sentence.
  package var name: String {
    switch self {
    case .safetensors: "a .safetensors file"
    case .npy: "a NumPy .npy file, of one tensor without a name"
    case .gitLFSPointer: "a Git LFS pointer, which stands for a file that is not there yet"
    case .gitAnnexPointer: "a git-annex pointer, which stands for a file that is not there yet"
    case .gguf: "a GGUF file, of a model for llama.cpp"
    case .ggml: "a GGML file, of a model for an old llama.cpp"
    case .hdf5: "an HDF5 file"
    case .pytorch: "a PyTorch file"
    case .pickle: "a Python pickle"
    case .npz: "a NumPy .npz archive"
    case .zip: "a zip archive"
    case .parquet: "a Parquet file"
    case .arrow: "an Arrow file"
    case .netCDF: "a NetCDF file"
    case .matlab: "a MATLAB file"
    case .tar: "a tar archive"
    case .gzip: "a gzip file"
    case .zstandard: "a Zstandard file"
    case .xz: "an xz file"
    case .bzip2: "a bzip2 file"
    case .lz4: "an LZ4 file"
    case .sevenZip: "a 7-Zip archive"
    case .html: "an HTML page, as a download without permission gives"
    case .xml: "an XML text, as a download without permission gives"
    case .json: "a JSON text"
    case .safetensorsIndex: "the index of a model that lies in several .safetensors files"
    case .text(let beginning): "text that begins with \(quoted(beginning, limit: 60))"
    case .zeros(let count): "zeros, of which it has \(count) at its beginning"
    }
  }

  /// What to do with it.
  private var remedy: String {
    let save = "and save its tensors with safetensors.numpy.save_file"
    return switch self {
    case .safetensors: "name it where a .safetensors file belongs"
    case .npy: "name it where a .npy file belongs"
    case .gitLFSPointer: "fetch the file itself with 'git lfs pull' in its repository"
    case .gitAnnexPointer: "fetch the file itself with 'git annex get' in its repository"
    case .gguf, .ggml: "read it with the Python package gguf \(save)"
    case .hdf5: "read it with the Python package h5py \(save)"
    case .pytorch: "load it with torch.load and save its tensors with safetensors.torch.save_file"
    case .pickle: "load it in the program that wrote it \(save)"
    case .npz: "load it with np.load \(save), or each array with np.save"
    case .zip, .tar, .gzip, .zstandard, .xz, .bzip2, .lz4, .sevenZip: "unpack it first"
    case .parquet, .arrow: "read it with the Python package pyarrow \(save)"
    case .netCDF, .matlab: "read it with the Python package scipy \(save)"
    case .html, .xml, .text: "download or save the file again"
    case .json: "name the file that has the tensors"
    case .safetensorsIndex: "name the one of them that has the tensors"
    case .zeros: "download or copy it again, as its contents have not arrived"
    }
  }
}

extension FileFormat {
  /// What a file that begins with these bytes is; nil if they do not tell.
  package init?(head: [UInt8]) {
    if let format = Self.tensorFile(head) ?? Self.archive(head) ?? Self.magic(head)
      ?? Self.text(head)
    {
      self = format
    } else if head.count >= 16, head.allSatisfy({ $0 == 0 }) {
      self = .zeros(head.count)
    } else {
      return nil
    }
  }

  /// The two formats that are read here.
  private static func tensorFile(_ head: [UInt8]) -> FileFormat? {
    if head.starts(with: NpyHeader.magic) { return .npy }
    guard head.count > 8 else { return nil }
    let length = head[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    let start = head[8...].first { !isSpace($0) }
    return length <= SafetensorsHeader.maximumLength && start == UInt8(ascii: "{")
      ? .safetensors : nil
  }

  /// Zip archives by the first file in them, and what else begins with a header of its own.
  private static func archive(_ head: [UInt8]) -> FileFormat? {
    if head.starts(with: Array("PK\u{5}\u{6}".utf8)) { return .zip }
    if head.starts(with: Array("PK\u{3}\u{4}".utf8)) {
      guard head.count > 30 else { return .zip }
      let length = Int(head[26]) | Int(head[27]) << 8
      let name = String(decoding: head[30..<min(30 + length, head.count)], as: UTF8.self)
      if name.hasSuffix(".npy") { return .npz }
      let isPyTorch = ["/data.pkl", "/.format_version", "/byteorder", "/version", "/constants.pkl"]
        .contains { name.hasSuffix($0) }
      return isPyTorch ? .pytorch : .zip
    }
    let tarMagic = 257
    return head.dropFirst(tarMagic).starts(with: Array("ustar".utf8)) ? .tar : nil
  }

  /// Formats with a magic number, longer ones before those that they begin with.
  private static let magics: [(bytes: [UInt8], format: FileFormat)] = [
    (Array("GGUF".utf8), .gguf), (Array("FUGG".utf8), .gguf),
    (Array("lmgg".utf8), .ggml), (Array("tjgg".utf8), .ggml), (Array("fmgg".utf8), .ggml),
    ([0x89] + Array("HDF\r\n".utf8) + [0x1A, 0x0A], .hdf5),
    // A pickled number that torch.save wrote first before it wrote zip archives.
    ([0x80, 2, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19], .pytorch),
    ([0x80, 2], .pickle), ([0x80, 3], .pickle), ([0x80, 4], .pickle), ([0x80, 5], .pickle),
    (Array("PAR1".utf8), .parquet), (Array("ARROW1".utf8), .arrow),
    (Array("CDF\u{1}".utf8), .netCDF), (Array("CDF\u{2}".utf8), .netCDF),
    (Array("CDF\u{5}".utf8), .netCDF), (Array("MATLAB 5.0 MAT-file".utf8), .matlab),
    ([0x1F, 0x8B], .gzip), ([0x28, 0xB5, 0x2F, 0xFD], .zstandard),
    ([0xFD] + Array("7zXZ".utf8) + [0], .xz), (Array("BZh".utf8), .bzip2),
    ([0x04, 0x22, 0x4D, 0x18], .lz4), ([0x37, 0x7A, 0xBC, 0xAF, 0x27, 0x1C], .sevenZip),
  ]

  private static func magic(_ head: [UInt8]) -> FileFormat? {
    magics.first { head.starts(with: $0.bytes) }?.format
  }

  /// Texts: what stands for a file, pages, and any other.
  private static func text(_ head: [UInt8]) -> FileFormat? {
    let marked: [UInt8] = [0xEF, 0xBB, 0xBF]
    let body = head.starts(with: marked) ? head.dropFirst(marked.count) : head[...]
    let isText = body.allSatisfy { isSpace($0) || $0 >= 0x20 && $0 != 0x7F }
    // A character of several bytes may be cut at the end.
    guard isText, body.contains(where: { !isSpace($0) }),
      (0...3).contains(where: { String(validating: body.dropLast($0), as: UTF8.self) != nil })
    else { return nil }
    let text = String(decoding: body.drop(while: isSpace), as: UTF8.self)
    if text.hasPrefix("version https://git-lfs.github.com/spec/") { return .gitLFSPointer }
    let line = String(text.prefix { !$0.isNewline })
    if line.hasPrefix("/annex/objects/") || line.contains(".git/annex/objects/") {
      return .gitAnnexPointer
    }
    let start = text.lowercased()
    if start.hasPrefix("<!doctype html") || start.hasPrefix("<html") { return .html }
    if start.hasPrefix("<?xml") { return start.contains("<html") ? .html : .xml }
    if start.hasPrefix("{") || start.hasPrefix("[") {
      return text.contains("\"weight_map\"") ? .safetensorsIndex : .json
    }
    // Pickles of protocol 0 are text.
    if ["(dp", "(lp", "cnumpy.", "cnumpy\n", "c__builtin__", "ccopy_reg"]
      .contains(where: text.hasPrefix)
    {
      return .pickle
    }
    return .text(line)
  }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (9...13).contains(byte) }
}
