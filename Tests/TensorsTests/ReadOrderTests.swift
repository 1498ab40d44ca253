import Tensors
import TestSupport
import Testing

/// Tensors whose elements lie in the file in another order than slices have them.
@Suite("Reading in other orders")
struct ReadOrderTests {
  /// How a file and the tensor that is seen differ.
  struct Order: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let isFortran: Bool
    /// The dimension of the file for each one that is seen.
    var axes = [0, 1, 2, 3]
    var descr = "'<f4'"
    var type = ElementType.f32
  }

  static let orders = [
    Order(testDescription: "Fortran", isFortran: true),
    Order(testDescription: "Fortran f16", isFortran: true, descr: "'<f2'", type: .f16),
    Order(testDescription: "Fortran big-endian", isFortran: true, descr: "'>f4'"),
    Order(testDescription: "Fortran big-endian f16", isFortran: true, descr: "'>f2'", type: .f16),
    Order(testDescription: "heads first", isFortran: false, axes: [0, 2, 1, 3]),
    Order(
      testDescription: "heads first bf16", isFortran: false, axes: [0, 2, 1, 3], descr: "'<V2'",
      type: .bf16),
    Order(testDescription: "heads first, Fortran", isFortran: true, axes: [0, 2, 1, 3]),
    Order(testDescription: "all turned round", isFortran: false, axes: [3, 2, 1, 0]),
  ]

  /// A number that all types hold exactly and that tells neighbours apart.
  private static func number(_ index: [Int], in shape: Shape) -> Float {
    Float(shape.flatIndex(of: index) % 251) - 125
  }

  /// A file in which the tensor of that shape, as it is seen, has `number` at each index.
  private static func source(
    _ folder: TemporaryFolder, _ order: Order, _ shape: Shape,
    number: (_ index: [Int]) -> Float
  ) throws -> TensorSource {
    var dimensions = [Int](repeating: 0, count: shape.rank)
    for (axis, fileAxis) in order.axes.enumerated() { dimensions[fileAxis] = shape[axis] }
    let stored = Shape(order.isFortran ? dimensions.reversed() : dimensions)
    let numbers = (0..<stored.elementCount).map { place in
      let index = stored.index(ofFlat: place)
      let fileIndex = order.isFortran ? index.reversed() : index
      return number(order.axes.map { fileIndex[$0] })
    }
    var data = elementBytes(numbers, order.type)
    if order.descr.contains(">") {
      let width = order.type.byteWidth
      for start in stride(from: 0, to: data.count, by: width) {
        data.replaceSubrange(
          start..<start + width, with: Array(data[start..<start + width].reversed()))
      }
    }
    let header = NpyFileTests.header(
      descr: order.descr, order: order.isFortran ? "True" : "False",
      shape: "(\(dimensions.map { "\($0)," }.joined()))")
    let path = try folder.file("x.npy", npyBytes(header, data: data))
    return try NpyFile.open(path).source(rank: 4).permuted(order.axes)
  }

  /// Reads a slice between sentinels, and compares with the elements that it should be.
  private static func expectSlice(
    _ source: TensorSource, _ rows: PositionRange, outerIndex: Int
  ) throws {
    let shape = source.shape
    let inner = shape.stride(1)
    let expected = rows.flatMap { row in
      (0..<inner).map {
        number(shape.index(ofFlat: (outerIndex * shape[1] + row) * inner + $0), in: shape)
      }
    }
    var numbers = [Float](repeating: 777, count: expected.count + 2)
    var span = numbers.mutableSpan
    var part = span.part(1..<expected.count + 1)
    try source.read(RowSlice(rows, outerIndex: outerIndex), into: &part)
    // Not compared within the expectation, which would look for all differences.
    let isSame = numbers == [777] + expected + [777]
    #expect(isSame, "\(rows) at \(outerIndex)")
  }

  @Test("Any rows are those of the whole tensor", arguments: orders)
  func slices(order: Order) throws {
    let folder = try TemporaryFolder()
    for shape in [[2, 13, 3, 5], [1, 1, 1, 1], [3, 7, 1, 4], [1, 9, 4, 1], [2, 8, 1, 1]] as [Shape]
    {
      let source = try Self.source(folder, order, shape) { Self.number($0, in: shape) }
      #expect(source.shape == shape)
      let numbers = (0..<shape.elementCount).map {
        Self.number(shape.index(ofFlat: $0), in: shape)
      }
      #expect(try allNumbers(source) == numbers)
      for outerIndex in 0..<shape[0] {
        for start in 0..<shape[1] {
          for stride in [1, 2, 5] {
            for count in 0...(shape[1] - 1 - start) / stride + 1 {
              let rows = PositionRange(start: start, stride: stride, count: count)
              try Self.expectSlice(source, rows, outerIndex: outerIndex)
            }
          }
        }
      }
    }
  }

  // Runs of a head's tokens beyond 64 KiB, rows of tokens more than 4 KiB apart, and a head dim
  // that is read one element at a time.
  @Test("Slices beyond the size of a window", arguments: orders)
  func largeSlices(order: Order) throws {
    let folder = try TemporaryFolder()
    for shape in [[1, 40_000, 2, 1], [2, 1500, 3, 30], [1, 6, 2, 12_000]] as [Shape] {
      let source = try Self.source(folder, order, shape) { Self.number($0, in: shape) }
      let tokens = shape[1]
      for rows in [
        PositionRange(0..<tokens), PositionRange(1..<tokens - 2),
        PositionRange(start: 1, stride: 2, count: tokens / 2),
        PositionRange(start: 0, stride: (tokens + 2) / 3, count: 3),
      ] {
        try Self.expectSlice(source, rows, outerIndex: shape[0] - 1)
      }
    }
  }

  @Test("A number that is none is named by its index in the file", arguments: orders)
  func nonFinite(order: Order) throws {
    let folder = try TemporaryFolder()
    let shape: Shape = [2, 40, 3, 10]
    let bad = [1, 26, 2, 7]
    let source = try Self.source(folder, order, shape) { $0 == bad ? .nan : 1 }
    var fileIndex = bad
    for (axis, fileAxis) in order.axes.enumerated() { fileIndex[fileAxis] = bad[axis] }
    var numbers = [Float](repeating: 0, count: 20 * 30)
    var span = numbers.mutableSpan
    try source.read(RowSlice(PositionRange(0..<20), outerIndex: 1), into: &span)
    let slice = RowSlice(PositionRange(20..<40), outerIndex: 1)
    let error = refusal { () throws(TensorFileError) in try source.read(slice, into: &span) }
    #expect(error?.kind == .notFinite)
    #expect(
      error?.description.contains("the element at index \(fileIndex) is nan") == true,
      "\(String(describing: error))")
    try source.read(slice, into: &span, nonFinite: .allowed)
  }
}
