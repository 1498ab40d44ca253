import Tensors
import TestSupport
import Testing

@Suite("Files of other formats")
struct FileFormatTests {
  /// The first file of a zip archive, as far as it is looked at.
  private static func zip(_ name: String) -> [UInt8] {
    Array("PK\u{3}\u{4}".utf8) + [UInt8](repeating: 0, count: 22)
      + [UInt8(name.utf8.count), 0, 0, 0] + Array(name.utf8) + [1, 2, 3]
  }

  private static func text(_ text: String) -> [UInt8] { Array(text.utf8) }

  private static let tar: [UInt8] =
    text("q.npy") + [UInt8](repeating: 0, count: 252) + text("ustar") + [0, 0x30, 0x30]

  /// Beginnings of files, and words of what is said of them.
  static let files: [(bytes: [UInt8], words: [String])] = [
    (
      text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
      ["a Git LFS pointer", "'git lfs pull'"]
    ),
    (text("/annex/objects/SHA256E-s9--ab.npy\n"), ["a git-annex pointer", "'git annex get'"]),
    (text("../.git/annex/objects/aX/b2/SHA256E-s9--ab.npy"), ["a git-annex pointer"]),
    (text("GGUF") + [3, 0, 0, 0, 1, 2, 3, 4], ["a GGUF file", "gguf"]),
    (text("tjgg") + [3, 0, 0, 0], ["a GGML file"]),
    (zip("q.npy"), ["NumPy .npz", "np.load"]),
    (zip("archive/data.pkl"), ["a PyTorch file", "torch.load", "safetensors.torch.save_file"]),
    (zip("checkpoint/.format_version"), ["a PyTorch file"]),
    (zip("weights.bin"), ["a zip archive", "unpack"]), (text("PK\u{5}\u{6}"), ["a zip archive"]),
    (
      [0x80, 2, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E],
      ["a PyTorch file"]
    ),
    ([0x80, 4, 0x95, 0x6A, 1, 0, 0, 0, 0, 0, 0, 0x8C], ["a Python pickle"]),
    (text("cnumpy.core.multiarray\n_reconstruct\np0\n"), ["a Python pickle"]),
    (text("<!DOCTYPE html>\n<html><body>Sign in</body></html>"), ["an HTML page", "download"]),
    (text("\n\n  <HTML lang=\"en\">"), ["an HTML page"]),
    (text("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>"), ["an XML text"]),
    (text("{\"metadata\": {\"total_size\": 9}, \"weight_map\": {}}"), ["index of a model"]),
    (text("{\"error\":\"not found\"}"), ["a JSON text"]),
    (text("\u{FEFF}[1, 2]"), ["a JSON text"]),
    (text("Entry not found"), ["text that begins with 'Entry not found'"]),
    (text("404"), ["text that begins with '404'"]),
    (text("größer als\u{A0}gedacht"), ["text that begins with 'größer"]),
    ([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2], ["a gzip file", "unpack"]),
    ([0x28, 0xB5, 0x2F, 0xFD, 0, 1, 2, 3, 4, 5], ["a Zstandard file"]),
    ([0xFD] + text("7zXZ") + [0, 0, 4, 1], ["an xz file"]),
    (text("BZh91AY&SY") + [1, 2], ["a bzip2 file"]), (tar, ["a tar archive"]),
    ([0x89] + text("HDF\r\n") + [0x1A, 0x0A, 0, 0], ["an HDF5 file", "h5py"]),
    (text("PAR1") + [0x15, 4, 0x15, 0x80, 1, 2], ["a Parquet file"]),
    (text("CDF\u{1}") + [0, 0, 0, 0, 0, 0], ["a NetCDF file"]),
    ([UInt8](repeating: 0, count: 5000), ["zeros", "1024", "download"]),
  ]

  @Test("What a file is instead is said by name", arguments: files)
  func recognized(bytes: [UInt8], words: [String]) throws {
    let folder = try TemporaryFolder()
    let path = try folder.file("model.safetensors", bytes)
    for (kind, open) in [
      (".safetensors", { () throws(TensorFileError) in _ = try SafetensorsFile.open(path) }),
      (".npy", { () throws(TensorFileError) in _ = try NpyFile.open(path) }),
    ] {
      let error = try #require(refusal(open))
      for word in words + ["it is no \(kind) file but ", "'\(path)'", "; "] {
        #expect(error.description.contains(word), "\(error)")
      }
      #expect(error.description.hasSuffix("."))
      guard case .otherFormat = error.kind else {
        Issue.record("\(error.kind)")
        continue
      }
    }
  }

  @Test("The two formats that are read are told apart")
  func mixedUp() throws {
    let folder = try TemporaryFolder()
    let npy = try folder.file(
      "q.safetensors", npyBytes(NpyFileTests.header(), data: NpyFileTests.eight))
    let error = refusal { () throws(TensorFileError) in _ = try SafetensorsFile.open(npy) }
    #expect(error?.kind == .otherFormat(.npy))
    #expect(error?.description.contains("a NumPy .npy file") == true)
    let safetensors = try folder.file("q.npy", SafetensorsFileTests.one())
    let other = refusal { () throws(TensorFileError) in _ = try NpyFile.open(safetensors) }
    #expect(other?.kind == .otherFormat(.safetensors))
    #expect(other?.description.contains("a .safetensors file") == true)
  }

  @Test("Lengths of headers that look like other formats are still lengths")
  func lookalikes() throws {
    let folder = try TemporaryFolder()
    // 0x0280, 0x8B1F: a pickle and gzip by the first two bytes.
    for length in [0x0280, 0x8B1F] {
      let header = "{}" + String(repeating: " ", count: length - 2)
      let path = try folder.file("x.safetensors", safetensorsBytes(header))
      #expect(try SafetensorsFile.open(path).entries.isEmpty)
    }
  }
}
