import Compute
import Tensors

/// Experts of gpt-oss as folders have them, and as GGUF has them, which the blocks of layers read.
///
/// Folders have gates and other hidden numbers in turn in one tensor. Numbers are
/// `[experts, inputs, outputs]` and not `[experts, outputs, inputs]`. Numbers of four bits are
/// `[experts, outputs, inputs / 32, 16]` bytes, a number of even place in a byte's lower half and
/// the next one above it, with `[experts, outputs, inputs / 32]` exponents in a tensor of their
/// own. So none of it can be read in place: each process makes a copy of its own, as large as the
/// file's.
///
/// Source: OpenAI 2025, gpt-oss-120b & gpt-oss-20b, the checkpoints' format.
struct StackedExperts: Sendable {
  /// What the bytes of the file are.
  enum Form {
    /// `[experts, inputs, outputs]`
    case numbers
    /// `[experts, outputs]`
    case biases
    /// Of four bits; where their exponents are.
    case blocks(exponents: HuggingFaceFolder.Entry.Place)
  }

  let form: Form
  /// The first output that is taken, and how far the next one is.
  let first, stride: Int
  /// As GGUF has it.
  let shape: Shape
  /// Outputs of an expert in the file.
  private let outputs: Int
  let type: WeightType

  /// The bytes of the copy.
  var byteCount: Int { type.byteCount(shape.elementCount) ?? 0 }

  /// What becomes of a folder's tensors: those of experts by GGUF's names, and the others.
  ///
  /// - Throws: A `TensorFileError` if one of experts is not as those of gpt-oss are.
  static func taken(
    from entries: [HuggingFaceFolder.Entry], path: String
  ) throws(TensorFileError) -> [HuggingFaceFolder.Entry] {
    var exponents: [String: HuggingFaceFolder.Entry] = [:]
    for entry in entries where entry.name.hasSuffix("_exps.scales") {
      exponents[String(entry.name.dropLast(".scales".count))] = entry
    }
    var result: [HuggingFaceFolder.Entry] = []
    for entry in entries where !entry.name.hasSuffix("_exps.scales") {
      let ending = entry.name.split(separator: ".").last ?? ""
      let stem = entry.name.dropLast(ending.count + "_exps.".count)
      guard entry.name.dropFirst(stem.count).hasPrefix("_exps.") else {
        result.append(entry)
        continue
      }
      let parts =
        stem.hasSuffix("gate_up")
        ? [(stem.dropLast("_up".count), 0, 2), (stem.dropLast("gate_up".count) + "up", 1, 2)]
        : [(stem, 0, 1)]
      for (part, first, stride) in parts {
        let stacked = StackedExperts(
          entry.place, ending, exponents: exponents["\(stem)_exps"]?.place, first: first,
          stride: stride)
        guard let stacked else {
          throw TensorFileError(
            .wrongShape, path: path, tensor: entry.place.tensor.name,
            "its shape \(entry.place.tensor.shape) or type "
              + "\(quoted(entry.place.tensor.typeName)) is none that experts have, or it lacks "
              + "their exponents",
            remedy: "download or save the model again")
        }
        var other = entry
        other.name = part + (ending == "bias" ? "_exps.bias" : "_exps.weight")
        other.experts = stacked
        result.append(other)
      }
    }
    return result
  }

  private init?(
    _ place: HuggingFaceFolder.Entry.Place, _ ending: Substring,
    exponents: HuggingFaceFolder.Entry.Place?, first: Int, stride: Int
  ) {
    (self.first, self.stride) = (first, stride)
    let tensor = place.tensor
    let sizes = tensor.shape.dimensions
    let inputs: [Int]
    switch (ending, sizes.count) {
    case ("weight", 3): (form, inputs, outputs) = (.numbers, [sizes[1]], sizes[2])
    case ("bias", 2): (form, inputs, outputs) = (.biases, [], sizes[1])
    case ("blocks", 4):
      guard let exponents, exponents.tensor.shape.dimensions == Array(sizes.dropLast()),
        sizes[3] == 16, tensor.typeName == "U8", exponents.tensor.typeName == "U8"
      else { return nil }
      (form, inputs, outputs) = (.blocks(exponents: exponents), [32 * sizes[2]], sizes[1])
    default: return nil
    }
    guard outputs % stride == 0,
      let shape = Shape(validating: [sizes[0], outputs / stride] + inputs)
    else { return nil }
    self.shape = shape
    if case .blocks = form {
      type = .mxfp4
    } else {
      guard let element = tensor.elementType, let type = WeightType(rawValue: element.rawValue)
      else { return nil }
      self.type = type
    }
  }

  /// The copy.
  ///
  /// - Parameters:
  ///   - bytes: of the file's tensor.
  ///   - exponents: of the other one, if there is one.
  func memory(_ bytes: RawSpan, exponents: RawSpan) -> SharedBytes {
    switch (form, type.blockBytes) {
    case (.blocks, _): blocks(bytes, exponents)
    case (_, 4): numbers(bytes, as: UInt32.self)
    default: numbers(bytes, as: UInt16.self)
    }
  }

  /// Numbers, which are not looked at.
  private func numbers<Number: PlainNumber & FixedWidthInteger>(
    _ bytes: RawSpan, as number: Number.Type
  ) -> SharedBytes {
    let (taken, size) = (outputs / stride, MemoryLayout<Number>.size)
    let inputs = shape.rank == 3 ? shape[2] : 1
    var buffer = AlignedBuffer<Number>(zeros: shape.elementCount)
    var target = buffer.mutableSpan
    for expert in 0..<shape[0] {
      for input in 0..<inputs {
        let row = (expert * inputs + input) * outputs
        for output in 0..<taken {
          target[(expert * taken + output) * inputs + input] = bytes.number(
            at: (row + first + output * stride) * size, as: number)
        }
      }
    }
    return SharedBytes(buffer)
  }

  /// Blocks with their exponents before them, the first sixteen numbers in lower halves.
  private func blocks(_ bytes: RawSpan, _ exponents: RawSpan) -> SharedBytes {
    let (taken, blocks) = (outputs / stride, shape[2] / 32)
    var buffer = AlignedBuffer<UInt8>(zeros: byteCount)
    var target = buffer.mutableSpan
    var place = 0
    for row in 0..<shape[0] * taken {
      let (expert, output) = row.quotientAndRemainder(dividingBy: taken)
      let source = (expert * outputs + first + output * stride) * blocks
      for block in source..<source + blocks {
        let pairs = bytes.sixteenBytes(at: 16 * block)
        let (near, far) = (pairs.lowHalf, pairs.highHalf)
        let (even, odd) = (near & 15 | far &<< 4, near &>> 4 | far & 0xF0)
        target[place] = exponents.number(at: block, as: UInt8.self)
        for index in 0..<8 {
          target[place + 1 + 2 * index] = even[index]
          target[place + 2 + 2 * index] = odd[index]
        }
        place += type.blockBytes
      }
    }
    return SharedBytes(buffer)
  }
}
