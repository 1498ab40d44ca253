public import Compute
public import Tensors

/// A tensor as the header of a `.gguf` file describes it.
public struct GGUFTensor: Hashable, Sendable {
  /// The tensor's name.
  public let name: String

  /// The dimensions, outermost first; files have them the other way round.
  public let shape: Shape

  /// The name of the type, for example `Q4_1`.
  public let typeName: String

  /// The type, or nil if tensors of it are not read here.
  public let type: WeightType?

  /// The place of the first byte in the file.
  public let byteOffset: Int

  /// The size of all blocks in bytes.
  public let byteCount: Int
}

extension GGUFTensor {
  /// The most dimensions that ggml's tensors have.
  private static let greatestRank = 4

  /// Reads the description of a tensor; its place is then still counted from the first tensor's.
  static func read(_ cursor: inout GGUFCursor, alignment: Int) throws(GGUFProblem) -> GGUFTensor {
    let name = try cursor.name("the name of a tensor")
    let what = "tensor \(quoted(name))"
    var start = cursor.offset
    let rank = try cursor.number(UInt32.self, what)
    guard rank <= greatestRank else {
      throw cursor.problem(
        "\(what) has \(rank) dimensions, and the format \(greatestRank)", at: start)
    }
    start = cursor.offset
    var dimensions: [Int] = []
    for _ in 0..<rank {
      dimensions.append(Int(clamping: try cursor.number(UInt64.self, what)))
    }
    guard let shape = Shape(validating: dimensions.reversed()) else {
      throw cursor.problem("\(what) has more elements than can be counted", at: start)
    }
    start = cursor.offset
    let number = try cursor.number(UInt32.self, what)
    guard let type = GGMLType(number) else {
      throw cursor.problem("\(what) is of type \(number), which is not known here", at: start)
    }
    let columns = shape.dimensions.last ?? 1
    guard columns % type.blockLength == 0 else {
      throw cursor.problem(
        "\(what) has rows of \(columns), which are no whole blocks of"
          + " \(type.blockLength) as \(type.name) has them", at: start)
    }
    guard let byteCount = type.byteCount(shape.elementCount) else {
      throw cursor.problem("\(what) is larger than memory can be", at: start)
    }
    start = cursor.offset
    let place = try cursor.number(UInt64.self, what)
    guard let offset = Int(exactly: place), offset % alignment == 0 else {
      throw cursor.problem(
        "\(what) begins at \(place), which is no multiple of the alignment \(alignment)", at: start)
    }
    return GGUFTensor(
      name: name, shape: shape, typeName: type.name, type: type.weightType, byteOffset: offset,
      byteCount: byteCount)
  }

  /// The tensor with its place counted from the start of the file; nil if that is no `Int`.
  func moved(by start: Int) -> GGUFTensor? {
    let (offset, overflow) = byteOffset.addingReportingOverflow(start)
    let (_, endOverflow) = offset.addingReportingOverflow(byteCount)
    guard !overflow, !endOverflow else { return nil }
    return GGUFTensor(
      name: name, shape: shape, typeName: typeName, type: type, byteOffset: offset,
      byteCount: byteCount)
  }
}
