/// A tensor of whole numbers in an open file: segment numbers, positions, masks.
///
/// The file stays open for as long as a source of it exists. Sources may be used by several threads
/// at a time.
public struct IntegerSource: Sendable {
  /// The name, the shape and the place of the tensor.
  public let entry: TensorEntry

  /// The type of the elements in the file.
  public let type: IntegerType

  private let file: ReadableFile

  /// The file, as its path was given.
  public var path: String { file.path }

  /// The name of the tensor.
  public var name: String { entry.name }

  /// The dimensions, outermost first.
  public var shape: Shape { entry.shape }

  /// The most bytes that are read at a time.
  private static let pieceBytes = 1 << 20

  init(entry: TensorEntry, file: ReadableFile) throws(TensorFileError) {
    guard let type = entry.integerType else {
      throw TensorFileError(
        .unsupported, path: file.path, tensor: entry.name,
        "its elements are of type \(quoted(entry.typeName)), and whole numbers are needed",
        remedy: "save it as one of \(IntegerType.listed)")
    }
    guard !entry.isColumnMajor || entry.shape.rank < 2 else {
      throw TensorFileError(
        .unsupported, path: file.path, tensor: entry.name,
        "its whole numbers are in column-major (Fortran) order",
        remedy: "save it with numpy.ascontiguousarray")
    }
    self.entry = entry
    self.type = type
    self.file = file
  }

  /// Reads some neighbouring elements, in row-major order.
  ///
  /// - Parameter elements: their row-major places.
  /// - Throws: A `TensorFileError` if reading fails, or if an element of type `BOOL` is not 0 or 1.
  /// - Precondition: The tensor has these elements.
  /// - Complexity: O(`elements.count`), with a system call for each MiB.
  public func read(_ elements: Range<Int>) throws(TensorFileError) -> [Int] {
    precondition(
      elements.lowerBound >= 0 && elements.upperBound <= shape.elementCount,
      "\(elements) of \(shape.elementCount) elements")
    var numbers: [Int] = []
    numbers.reserveCapacity(elements.count)
    let width = type.byteWidth
    let pieceLength = Self.pieceBytes / width
    for start in stride(from: elements.lowerBound, to: elements.upperBound, by: pieceLength) {
      let count = min(pieceLength, elements.upperBound - start)
      let bytes = try file.read(at: entry.byteOffset + start * width, count: count * width)
      for first in stride(from: 0, to: bytes.count, by: width) {
        let element = bytes[first..<first + width]
        numbers.append(entry.isBigEndian ? type.number(element.reversed()) : type.number(element))
      }
    }
    if type == .bool, let place = numbers.firstIndex(where: { $0 > 1 }) {
      throw TensorFileError(
        .malformed, path: path, tensor: name,
        "the element at index \(shape.index(ofFlat: elements.lowerBound + place)) is "
          + "\(numbers[place]), and truth is 0 or 1",
        remedy: "save it again, or as U8 if other numbers are meant")
    }
    return numbers
  }

  /// Reads the whole tensor, in row-major order; see ``read(_:)``.
  public func readAll() throws(TensorFileError) -> [Int] { try read(0..<shape.elementCount) }

  /// Opens a tensor of whole numbers of a `.safetensors` or `.npy` file, told apart by their first
  /// bytes.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - name: The tensor's name in a `.safetensors` file; nil for the only one of a file. A `.npy`
  ///     file has one tensor, without a name.
  /// - Throws: A `TensorFileError` if the file cannot be read, is not valid, or does not hold such
  ///   a tensor.
  public static func open(
    _ path: String, tensor name: String? = nil
  ) throws(TensorFileError) -> IntegerSource {
    let file = try ReadableFile(path: path)
    if try NpyFile.hasMagic(file) { return try NpyFile(file).integers() }
    let safetensors = try SafetensorsFile(file)
    if let name { return try safetensors.integers(name) }
    guard safetensors.entries.count == 1 else {
      throw TensorFileError(
        .missingTensor, path: path,
        "it has \(safetensors.entries.count) tensors, and one is needed",
        remedy: "save that tensor in a file by itself")
    }
    return try safetensors.integers(safetensors.entries[0].name)
  }
}

extension TensorEntry {
  /// The type of whole numbers that the elements are of, or nil if they are of none that is read
  /// here.
  public var integerType: IntegerType? { IntegerType(fileName: typeName) }
}

extension SafetensorsFile {
  /// The tensor of whole numbers called `name`.
  ///
  /// - Throws: A `TensorFileError` if there is no such tensor, or if its elements are no whole
  ///   numbers that are read here.
  /// - Complexity: O(tensors).
  public func integers(_ name: String) throws(TensorFileError) -> IntegerSource {
    guard let entry = entry(name) else {
      let candidates = entries.filter { $0.integerType != nil }
      throw TensorFileError(
        .missingTensor, path: path, tensor: name, "there is no such tensor in the file",
        remedy: candidates.isEmpty
          ? "choose another file, as this one has no tensors of \(IntegerType.listed)"
          : "choose one of \(listed(candidates.map(\.name)))")
    }
    return try IntegerSource(entry: entry, file: file)
  }
}

extension NpyFile {
  /// The tensor, of whole numbers.
  ///
  /// - Throws: A `TensorFileError` if its elements are no whole numbers that are read here.
  public func integers() throws(TensorFileError) -> IntegerSource {
    try IntegerSource(entry: entry, file: file)
  }
}
