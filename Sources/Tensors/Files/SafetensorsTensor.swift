/// A tensor as the header of a `.safetensors` file describes it, not yet checked.
struct SafetensorsTensor {
  let name: String
  let type: SafetensorsType
  let dimensions: [Int]

  /// The place of the first byte, counted from the start of the data.
  let begin: Int

  /// The place after the last byte, counted from the start of the data.
  let end: Int

  /// What is wrong with the tensor if those before it in the file cover `covered` bytes, or nil.
  func problem(after covered: Int) -> String? {
    guard begin <= end else { return "its data_offsets [\(begin), \(end)] are reversed" }
    guard let shape = Shape(validating: dimensions) else {
      return "its shape \(Self.shortened(dimensions)) has more elements than can be counted"
    }
    guard type.byteCount(shape.elementCount) == end - begin else {
      let needed = type.byteCount(shape.elementCount).map { "\($0)" } ?? "no whole number of bytes"
      return "the length of its data_offsets [\(begin), \(end)] is \(end - begin), but its shape"
        + " \(Self.shortened(dimensions)) of type \(type.rawValue) takes \(needed)"
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
      name: name, typeName: type.rawValue, elementType: type.elementType, shape: Shape(dimensions),
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
    var metadata: [String: String] = [:]
    try text.readObject("at the start") { (text, key) throws(HeaderTextError) in
      if key == "__metadata__" {
        try text.readObject("to begin the metadata") { (text, key) throws(HeaderTextError) in
          metadata[key] = try text.readString("of a string, the only kind of metadata,")
        }
      } else {
        tensors.append(try SafetensorsTensor(name: key, &text))
      }
    }
    text.skipSpace()
    guard text.next == nil else { throw text.unexpected("the end of the header") }
    return (tensors, metadata)
  }

  /// Reads the object that describes the tensor called `name`.
  private init(name: String, _ text: inout HeaderText) throws(HeaderTextError) {
    let start = text.offset
    var type: SafetensorsType?
    var dimensions: [Int]?
    var offsets: [Int]?
    let purpose = "to describe tensor \(quoted(name))"
    try text.readObject(purpose) { (text, key) throws(HeaderTextError) in
      let keyOffset = text.offset
      switch key {
      case "dtype":
        let typeName = try text.readString("of a type")
        type = SafetensorsType(rawValue: typeName)
        if type == nil {
          let known = SafetensorsType.allCases.map(\.rawValue).joined(separator: ", ")
          throw text.error(
            "the dtype \(quoted(typeName)) of tensor \(quoted(name)), which is none of \(known)",
            at: keyOffset)
        }
      case "shape": dimensions = try text.readWholeNumbers("to begin a shape")
      case "data_offsets": offsets = try text.readWholeNumbers("to begin data_offsets")
      default:
        throw text.error(
          "the unknown key \(quoted(key)) in tensor \(quoted(name))", at: keyOffset)
      }
    }
    guard let type, let dimensions, let offsets else {
      let missing = type == nil ? "dtype" : dimensions == nil ? "shape" : "data_offsets"
      throw text.error("no \(missing) in tensor \(quoted(name))", at: start)
    }
    guard offsets.count == 2 else {
      throw text.error(
        "\(offsets.count) data_offsets instead of 2 in tensor \(quoted(name))", at: start)
    }
    self.name = name
    self.type = type
    self.dimensions = dimensions
    (begin, end) = (offsets[0], offsets[1])
  }
}
