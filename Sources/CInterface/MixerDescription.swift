import Mixers
import Reporting

/// An operator, as callers are told of it: what they need to offer it under its name.
struct MixerDescription: Encodable {
  let name: String
  let summary: String
  let tensors: [TensorOfMixer]
  let outputs: [TensorOfMixer]
  let options: [OptionOfMixer]

  struct TensorOfMixer: Encodable {
    let name: String
    /// The dimensions by their names, in each form that it may have.
    let dimensions: [[String]]
    /// Whether it does without it, with some options at least.
    let optional: Bool
    let shapes: String
  }

  struct OptionOfMixer: Encodable {
    let name: String
    let kind: MixOptionForm.Kind
    let summary: String
  }

  /// Describes an operator that has gradients whatever its options are.
  init(_ type: any Mixer.Type) {
    name = type.name
    summary = type.summary
    var simple = MixerOptions()
    simple.variant = .simple
    let always = Set(type.demands(for: simple).filter { !$0.isOptional }.map(\.name))
    tensors = type.demands.map {
      TensorOfMixer(
        name: $0.name, dimensions: [$0.dimensions, $0.otherDimensions].compactMap(\.self),
        optional: !always.contains($0.name), shapes: $0.shapes)
    }
    outputs = Self.outputs(type).map {
      TensorOfMixer(
        name: $0.name, dimensions: [$0.dimensions], optional: false,
        shapes: "[\($0.dimensions.joined(separator: ", "))]")
    }
    options = type.options.sorted { $0.rawValue < $1.rawValue }.compactMap { option in
      MixOptionForm.all[option].map {
        OptionOfMixer(name: option.rawValue, kind: $0.kind, summary: $0.summary)
      }
    }
  }

  /// Those of a small problem: names and dimensions are those of any.
  private static func outputs(_ type: any Mixer.Type) -> [TensorForm] {
    let names = type.randomDimensions + type.furtherRandomDimensions.map(\.name)
    let sizes = MixerSizes(
      Dictionary(names.map { ($0, 4) }, uniquingKeysWith: { first, _ in first }))
    let small = try? type.init(sizes, present: type.randomTensors, options: MixerOptions())
    return small?.outputs ?? []
  }
}
