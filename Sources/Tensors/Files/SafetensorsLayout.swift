/// A tensor that is to be written.
public struct TensorDescription: Hashable, Sendable {
  /// The name, unique within the file.
  public let name: String

  /// The type that elements have in the file.
  public let elementType: ElementType

  /// The dimensions, outermost first.
  public let shape: Shape

  /// Describes a tensor by name, element type and shape.
  public init(_ name: String, _ elementType: ElementType, _ shape: Shape) {
    self.name = name
    self.elementType = elementType
    self.shape = shape
  }
}

/// Where everything goes in a `.safetensors` file that is to be written.
///
/// A pure function of its arguments: every rank of a job computes the same layout and can write its
/// rows without asking anyone.
public struct SafetensorsLayout: Hashable, Sendable {
  /// The file, as its path was given.
  public let path: String

  /// The tensors in the order of their data: wide elements before narrow ones, otherwise as given,
  /// so that each tensor begins at a multiple of its element size.
  public let entries: [TensorEntry]

  /// The bytes of the file before the data: header length, JSON text, spaces up to `alignment`.
  let header: [UInt8]

  /// The size of the whole file in bytes.
  public let fileSize: Int

  /// The place of the data is a multiple of this many bytes.
  static let alignment = 64

  /// Lays out a file.
  ///
  /// - Parameters:
  ///   - path: The file that is to be written.
  ///   - tensors: The tensors in any order.
  ///   - metadata: Strings for the header's `__metadata__`.
  /// - Throws: A `TensorFileError` if the file would be larger than files can be.
  /// - Precondition: Names are unique and none is `__metadata__`.
  public init(
    path: String, tensors: [TensorDescription], metadata: [String: String] = [:]
  ) throws(TensorFileError) {
    precondition(
      Set(tensors.map(\.name)).count == tensors.count
        && !tensors.contains { $0.name == "__metadata__" },
      "Tensors in a file need names of their own, other than __metadata__")
    let wide = tensors.filter { $0.elementType.byteWidth == 4 }
    let narrow = tensors.filter { $0.elementType.byteWidth == 2 }
    var fields: [String] = []
    if !metadata.isEmpty {
      let pairs = metadata.sorted { $0.key < $1.key }
        .map { "\($0.key.asJSON):\($0.value.asJSON)" }
      fields.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
    }
    var placed: [(tensor: TensorDescription, begin: Int, end: Int)] = []
    var end = 0
    for tensor in wide + narrow {
      let begin = end
      let size = tensor.shape.byteCount(tensor.elementType)
      let (sum, overflow) = begin.addingReportingOverflow(size ?? 0)
      guard size != nil, !overflow, sum <= Int.max - 2 * SafetensorsHeader.maximumLength else {
        throw TensorFileError(
          .unwritable, path: path, tensor: tensor.name,
          "its shape \(tensor.shape) of \(tensor.elementType) makes the file larger than files "
            + "can be",
          remedy: "ask for fewer tokens")
      }
      end = sum
      placed.append((tensor, begin, end))
      fields.append(
        "\(tensor.name.asJSON):{\"dtype\":\"\(tensor.elementType)\",\"shape\":\(tensor.shape),"
          + "\"data_offsets\":[\(begin),\(end)]}")
    }

    var text = Array("{\(fields.joined(separator: ","))}".utf8)
    text += Array(repeating: UInt8(ascii: " "), count: -(8 + text.count) & (Self.alignment - 1))
    guard text.count <= SafetensorsHeader.maximumLength else {
      throw TensorFileError(
        .unwritable, path: path,
        "its header of \(text.count) bytes is beyond the format's limit of"
          + " \(SafetensorsHeader.maximumLength)",
        remedy: "write fewer tensors or less metadata to one file")
    }
    header = (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) } + text
    let dataStart = header.count
    self.path = path
    fileSize = dataStart + end
    entries = placed.map { tensor, begin, end in
      TensorEntry(
        name: tensor.name, typeName: tensor.elementType.rawValue, elementType: tensor.elementType,
        shape: tensor.shape, byteOffset: dataStart + begin, byteCount: end - begin)
    }
  }

  /// The place of the tensor called `name`.
  ///
  /// - Precondition: The layout has such a tensor.
  /// - Complexity: O(tensors).
  public subscript(name: String) -> TensorEntry {
    guard let entry = entries.first(where: { $0.name == name }) else {
      preconditionFailure("The file has no tensor \(name)")
    }
    return entry
  }
}

extension String {
  /// The string as JSON writes it, in double quotes.
  fileprivate var asJSON: String {
    var json = "\""
    for scalar in unicodeScalars {
      switch scalar {
      case "\"", "\\":
        json += "\\\(scalar)"
      case ..<"\u{20}":
        let hexadecimal = String(scalar.value, radix: 16)
        json += "\\u" + String(repeating: "0", count: 4 - hexadecimal.count) + hexadecimal
      default: json.unicodeScalars.append(scalar)
      }
    }
    return json + "\""
  }
}
