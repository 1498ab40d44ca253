import Foundation
import Tensors
import TestSupport
import Testing

@Suite("Reading slices of rows")
struct ReadSliceTests {
  /// A file with a tensor `before` of three elements and a tensor `x`, whose element i is
  /// `value(i)`.
  private static func file(
    _ folder: TemporaryFolder, _ type: ElementType, _ shape: Shape, value: (Int) -> Float
  ) throws -> TensorSource {
    let start = 3 * type.byteWidth
    let end = start + shape.elementCount * type.byteWidth
    let header =
      "{\"before\":{\"dtype\":\"\(type)\",\"shape\":[3],\"data_offsets\":[0,\(start)]},"
      + "\"x\":{\"dtype\":\"\(type)\",\"shape\":\(shape),\"data_offsets\":[\(start),\(end)]}}"
    let numbers = [-1, -1, -1] + (0..<shape.elementCount).map(value)
    let path = try folder.file(
      "x.safetensors", safetensorsBytes(header, data: elementBytes(numbers, type)))
    return try SafetensorsFile.open(path).source("x", rank: shape.rank)
  }

  /// A number that all three types hold exactly and that tells neighbours apart.
  private static func number(_ index: Int) -> Float { Float(index % 251) - 125 }

  /// Reads a slice between sentinels, and compares with the elements that it should be.
  private static func expectSlice(_ source: TensorSource, _ slice: RowSlice) throws {
    let shape = source.shape
    let inner = shape.stride(slice.axis)
    let expected = slice.rows.flatMap { row in
      (0..<inner).map { number((slice.outerIndex * shape[slice.axis] + row) * inner + $0) }
    }
    var numbers = [Float](repeating: 777, count: expected.count + 2)
    var span = numbers.mutableSpan
    var part = span.part(1..<expected.count + 1)
    #expect(slice.elementCount(in: shape) == expected.count)
    try source.read(slice, into: &part)
    #expect(numbers == [777] + expected + [777], "\(slice.rows) of axis \(slice.axis)")
  }

  @Test("Any rows of any axis are those of the whole tensor", arguments: ElementType.allCases)
  func everySlice(type: ElementType) throws {
    let folder = try TemporaryFolder()
    let shape: Shape = [2, 13, 3, 5]
    let source = try Self.file(folder, type, shape, value: Self.number)
    for axis in 0..<4 {
      let outerCount = shape.dimensions[..<axis].reduce(1, *)
      for outerIndex in Set([0, outerCount / 2, outerCount - 1]) {
        for start in [0, 1, shape[axis] / 2, shape[axis] - 1] where start < shape[axis] {
          for stride in [1, 2, 3, 7] {
            for count in 0...(shape[axis] - 1 - start) / stride + 1 {
              let rows = PositionRange(start: start, stride: stride, count: count)
              try Self.expectSlice(source, RowSlice(rows, axis: axis, outerIndex: outerIndex))
            }
          }
        }
      }
    }
  }

  // 600 · 3 · 131 elements of 4 bytes: rows of 1.5 KiB, which a stride of 2 reads together and a
  // stride of 5 one by one, and runs of several pieces.
  @Test("Slices beyond the size of a piece", arguments: ElementType.allCases)
  func largeSlices(type: ElementType) throws {
    let folder = try TemporaryFolder()
    let source = try Self.file(folder, type, [2, 2600, 3, 131], value: Self.number)
    for rows in [
      PositionRange(0..<2600), PositionRange(17..<2599),
      PositionRange(start: 1, stride: 2, count: 1300),
      PositionRange(start: 0, stride: 5, count: 520),
      PositionRange(start: 3, stride: 2596, count: 2),
    ] {
      try Self.expectSlice(source, RowSlice(rows, outerIndex: 1))
    }
    #expect(try allNumbers(source) == (0..<source.shape.elementCount).map(Self.number))
  }

  @Test("Single rows beyond the size of a piece", arguments: ElementType.allCases)
  func largeRows(type: ElementType) throws {
    let folder = try TemporaryFolder()
    let source = try Self.file(folder, type, [3, 600_001], value: Self.number)
    try Self.expectSlice(source, RowSlice(PositionRange(start: 0, stride: 2, count: 2), axis: 0))
    try Self.expectSlice(
      source, RowSlice(PositionRange(start: 1, stride: 7, count: 80_000), axis: 1, outerIndex: 2))
  }

  @Test(
    "NaN and infinity are refused with their index, in every way of reading",
    arguments: ElementType.allCases, [Float.nan, .infinity, -.infinity])
  func nonFinite(type: ElementType, value: Float) throws {
    let folder = try TemporaryFolder()
    let shape: Shape = [2, 40, 3, 100]
    let index = [1, 26, 2, 97]
    let source = try Self.file(folder, type, shape) { place in
      // A second one behind it is not the first.
      place >= shape.flatIndex(of: index) && place % 100 == 97 ? value : 1
    }
    for rows in [
      PositionRange(0..<40), PositionRange(26..<27), PositionRange(start: 2, stride: 2, count: 19),
      PositionRange(start: 0, stride: 13, count: 3),
    ] {
      let slice = RowSlice(rows, outerIndex: 1)
      var numbers = [Float](repeating: 0, count: slice.elementCount(in: shape))
      var span = numbers.mutableSpan
      let error = refusal { () throws(TensorFileError) in try source.read(slice, into: &span) }
      #expect(error?.kind == .notFinite)
      #expect(error?.tensor == "x")
      #expect(
        error?.description.contains("tensor 'x': the element at index [1, 26, 2, 97] is \(value)")
          == true, "\(String(describing: error))")
      try source.read(slice, into: &span, nonFinite: .allowed)
      let first = numbers.span.firstNonFiniteIndex
      #expect(try numbers[#require(first)].description == value.description)
    }
    var clean = [Float](repeating: 0, count: 26 * 300)
    var span = clean.mutableSpan
    try source.read(RowSlice(PositionRange(0..<26), outerIndex: 1), into: &span)
  }

  @Test("A file that becomes shorter while it is open is an error", arguments: ElementType.allCases)
  func truncatedLater(type: ElementType) throws {
    let folder = try TemporaryFolder()
    let source = try Self.file(folder, type, [1, 100, 2, 4], value: Self.number)
    let end = source.byteOffset + source.entry.byteCount
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: source.path))
    try handle.truncate(atOffset: UInt64(end - 1))
    try handle.close()
    let error = refusal { () throws(TensorFileError) in _ = try source.readAll() }
    #expect(error?.kind == .truncated)
    #expect(
      error?.description.contains("it ends at byte \(end - 1), but had \(end) bytes") == true,
      "\(String(describing: error))")
    // The rows before the cut are still there.
    try Self.expectSlice(source, RowSlice(PositionRange(0..<99)))
  }

  @Test("A slice outside of the tensor, or the wrong room for it, stops the process")
  func bounds() async {
    await #expect(processExitsWith: .failure) {
      print(RowSlice(PositionRange(1..<5)).elementCount(in: [1, 4, 2]))
    }
    await #expect(processExitsWith: .failure) {
      print(RowSlice(PositionRange(0..<4), outerIndex: 1).elementCount(in: [1, 4, 2]))
    }
    await #expect(processExitsWith: .failure) {
      print(RowSlice(PositionRange(0..<4), axis: 3).elementCount(in: [1, 4, 2]))
    }
    await #expect(processExitsWith: .failure) {
      let folder = try TemporaryFolder()
      let source = try Self.file(folder, .f32, [1, 4], value: Self.number)
      var numbers = [Float](repeating: 0, count: 5)
      var span = numbers.mutableSpan
      try source.read(RowSlice(PositionRange(0..<4)), into: &span)
    }
  }
}
