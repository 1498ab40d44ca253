/// A tensor as the header of a `.safetensors` file describes it, not yet checked.
struct SafetensorsTensor: Hashable {
  let name: String
  let typeName: String
  let dimensions: [Int]

  /// The place of the first byte, counted from the start of the data.
  let begin: Int

  /// The place after the last byte, counted from the start of the data.
  let end: Int

  /// The element type; nil if the format had none of that name when this was written.
  private var type: SafetensorsType? { SafetensorsType(rawValue: typeName) }

  /// What is wrong with the tensor if those before it in the file cover `covered` bytes, or nil.
  func problem(after covered: Int) -> String? {
    guard begin <= end else { return "its data_offsets [\(begin), \(end)] are reversed" }
    guard let shape = Shape(validating: dimensions) else {
      return "its shape \(Self.shortened(dimensions)) has more elements than can be counted"
    }
    if let type, type.byteCount(shape.elementCount) != end - begin {
      let needed = type.byteCount(shape.elementCount).map { "\($0)" } ?? "no whole number of bytes"
      return "the length of its data_offsets [\(begin), \(end)] is \(end - begin), but its shape"
        + " \(Self.shortened(dimensions)) of type \(typeName) takes \(needed)"
    }
    guard begin >= covered else {
      return "its data_offsets [\(begin), \(end)] overlap the one before, which ends at \(covered)"
    }
    guard begin == covered else {
      return "its data_offsets [\(begin), \(end)] leave a hole from \(covered) to \(begin)"
    }
    return nil
  }

  /// The tensor with its place in the file; it must have no `problem`.
  func entry(dataStart: Int) -> TensorEntry {
    TensorEntry(
      name: name, typeName: typeName, elementType: type?.elementType, shape: Shape(dimensions),
      byteOffset: dataStart + begin, byteCount: end - begin)
  }

  /// The dimensions as text, however many a hostile file may have.
  private static func shortened(_ dimensions: [Int]) -> String {
    dimensions.count <= 8
      ? dimensions.description
      : "[" + dimensions.prefix(8).map(\.description).joined(separator: ", ") + ", …]"
  }
}

extension SafetensorsTensor {
  /// Reads the JSON text of a header: the tensors in their order there, and the metadata.
  static func parseHeader(
    _ bytes: [UInt8]
  ) throws(HeaderTextError) -> (tensors: [SafetensorsTensor], metadata: [String: String]) {
    var text = HeaderText(bytes)
    var tensors: [SafetensorsTensor] = []
    var places: [[UInt8]: Int] = [:]
    var metadata: [String: String]?
    text.skipSpace()
    try text.readObject("at the start", allowingRepeats: true) {
      (text, key) throws(HeaderTextError) in
      let start = text.offset
      if key == "__metadata__" {
        guard metadata == nil else {
          throw text.error("the key '__metadata__' for the second time", at: start)
        }
        metadata = try text.readMetadata()
        return
      }
      let tensor = try SafetensorsTensor(name: key, &text)
      guard let first = places.updateValue(tensors.count, forKey: Array(key.utf8)) else {
        tensors.append(tensor)
        return
      }
      guard tensors[first] == tensor else {
        throw text.error("tensor \(quoted(key)) for the second time, and not as before", at: start)
      }
      places[Array(key.utf8)] = first
    }
    text.skipSpace()
    guard text.next == nil else { throw text.unexpected("the end of the header") }
    return (tensors, metadata ?? [:])
  }

  /// Reads the object that describes the tensor called `name`.
  private init(name: String, _ text: inout HeaderText) throws(HeaderTextError) {
    let start = text.offset
    var typeName: String?
    var dimensions: [Int]?
    var offsets: [Int]?
    let purpose = "to describe tensor \(quoted(name))"
    try text.readObject(purpose) { (text, key) throws(HeaderTextError) in
      switch key {
      case "dtype": typeName = try text.readString("of a type")
      case "shape": dimensions = try text.readWholeNumbers("to begin a shape")
      case "data_offsets": offsets = try text.readWholeNumbers("to begin data_offsets")
      default: try text.skipValue()
      }
    }
    guard let typeName, let dimensions, let offsets else {
      let missing = typeName == nil ? "dtype" : dimensions == nil ? "shape" : "data_offsets"
      throw text.error("no \(missing) in tensor \(quoted(name))", at: start)
    }
    guard offsets.count == 2 else {
      throw text.error(
        "\(offsets.count) data_offsets instead of 2 in tensor \(quoted(name))", at: start)
    }
    self.name = name
    self.typeName = typeName
    self.dimensions = dimensions
    (begin, end) = (offsets[0], offsets[1])
  }
}

extension HeaderText {
  /// Reads the value of `__metadata__`: strings by name, or `null` for none.
  ///
  /// Of a name that comes twice the last value counts, as for other readers: no tensor depends on
  /// it.
  fileprivate mutating func readMetadata() throws(HeaderTextError) -> [String: String] {
    var metadata: [String: String] = [:]
    if take(word: "null") { return metadata }
    try readObject("to begin the metadata", allowingRepeats: true) {
      (text, key) throws(HeaderTextError) in
      metadata[key] = try text.readString("of a string, the only kind of metadata,")
    }
    return metadata
  }
}
