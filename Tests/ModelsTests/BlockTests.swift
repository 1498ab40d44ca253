import Foundation
import Compute
import Models
import Tensors
import Testing

/// Blocks of every format become the numbers that llama.cpp's Python package finds in them.
@Suite struct BlockTests {
  /// What blocks.py wrote: bytes and numbers, in hexadecimal.
  private struct Case: Decodable {
    let format: String
    let bytes: String
    let numbers: String
  }

  private func cases() throws -> [Case] {
    let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "blocks.json")
    return try JSONDecoder().decode([Case].self, from: Data(contentsOf: url))
  }

  @Test("each format's blocks are the numbers of gguf.quants, to the bit")
  func decoding() throws {
    let cases = try cases()
    #expect(Set(cases.map(\.format)) == Set(WeightType.allCases.map(\.description)))
    for block in cases {
      let format = try #require(WeightType.allCases.first { $0.description == block.format })
      let bytes = TestFile.bytes(hexadecimal: block.bytes)
      let expected = TestFile.floats(TestFile.bytes(hexadecimal: block.numbers))
      var numbers = [Float](repeating: -7, count: expected.count)
      var span = numbers.mutableSpan
      format.decode(unsafe bytes.span.bytes, into: &span)
      #expect(numbers.map(\.bitPattern) == expected.map(\.bitPattern), "\(format)")
    }
  }

  @Test("rows of a tensor of a file are those of the whole")
  func rows() throws {
    let blocks = try #require(try cases().first { $0.format == "Q4_K" })
    let bytes = TestFile.bytes(hexadecimal: blocks.bytes)
    let expected = TestFile.floats(TestFile.bytes(hexadecimal: blocks.numbers))
    let file = try TestFile(
      GGUFBuilder(tensors: [.init("a", [256, 2], type: 12, data: bytes)]).bytes)
    let tensor = try withExtendedLifetime(file) { try GGUFFile(file.path).tensor("a") }
    #expect(tensor.shape == [2, 256])
    #expect((tensor.rows, tensor.columns, tensor.rowByteCount) == (2, 256, 144))
    var row = [Float](repeating: 0, count: 256)
    var span = row.mutableSpan
    tensor.decode(rows: 1..<2, into: &span)
    #expect(row == Array(expected[256...]))
    #expect(tensor.rowBytes(0..<1).byteCount == 144)
    let all = tensor.decoded()
    #expect(all.count == 512 && all[300] == expected[300])
  }
}
