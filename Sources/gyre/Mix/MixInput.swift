import Mixers
import Reporting
import Tensors

/// The tensors of a run, opened and found to fit together, but not read.
struct MixInput {
  /// Computes on tensors of these sizes.
  let mixer: any Mixer
  /// Of all inputs.
  let sources: [MixerSource]
  /// That of the first output; nil unless gradients are asked for.
  let gradient: MixerSource?
  /// The tensors of the file.
  private(set) var files: [TensorSource] = []

  /// Describes random tensors.
  init(
    random: RandomSizes, _ type: any Mixer.Type, _ options: MixerOptions, seed: UInt64,
    gradients: Bool
  ) throws {
    let (sizes, demands) = (random.sizes(for: type), type.demands(for: options))
    mixer = try Self.make(type, sizes, present: type.randomTensors, options, gradients: gradients)
    sources = mixer.inputs.enumerated().map { index, form in
      let filling = demands.first { $0.name == form.name }?.filling ?? .normal
      return MixerSource(form, seed: seed, tensor: UInt64(index), filling: filling)
    }
    gradient =
      gradients
      ? MixerSource(mixer.outputs[0].named("do"), seed: seed, tensor: 100, filling: .normal) : nil
  }

  /// Opens a `.safetensors` file.
  init(
    file path: String, _ type: any Mixer.Type, _ options: MixerOptions, gradients: Bool
  ) throws {
    let file = try SafetensorsFile.open(path)
    let demands = type.demands(for: options)
    var sizes = MixerSizes()
    var found: [String: TensorSource] = [:]
    for demand in demands {
      guard file.entry(demand.name) != nil else {
        if demand.isOptional { continue }
        throw UserError(
          "'\(path)': \(type.name) needs a tensor \(demand.name) "
            + "\(demand.shapes), and there is none in the file; add it.")
      }
      let source = try file.source(demand.name)
      guard demand.dimensions(rank: source.shape.rank) != nil else {
        throw UserError(
          "'\(path)': \(demand.name) is \(source.shape), and \(type.name) needs "
            + "\(demand.shapes); reshape it before saving.")
      }
      if let other = sizes.add(demand, source.shape) {
        throw UserError(
          "'\(path)': \(demand.name) is \(source.shape), whose \(other.name) is "
            + "\(sizes[other.name]) in a tensor before it; make them the same.")
      }
      found[demand.name] = source
    }
    let optional = demands.filter { $0.isOptional && found[$0.name] != nil }.map(\.name)
    let made = try Self.make(type, sizes, present: Set(optional), options, gradients: gradients)
    mixer = made
    sources = made.inputs.compactMap { form in
      found[form.name].map { MixerSource(form, file: $0) }
    }
    files = demands.compactMap { found[$0.name] }
    guard gradients else {
      gradient = nil
      return
    }
    let form = made.outputs[0].named("do")
    guard file.entry("do") != nil else {
      throw UserError(
        "'\(path)': --gradients needs a tensor do \(form.shape), the gradient of "
          + "\(made.outputs[0].name), and there is none in the file; add it, or leave the option "
          + "out.")
    }
    let source = try file.source("do")
    guard source.shape == form.shape else {
      throw UserError(
        "'\(path)': do is \(source.shape) and \(made.outputs[0].name) will be \(form.shape); give "
          + "do that shape.")
    }
    gradient = MixerSource(form, file: source)
    files.append(source)
  }

  private static func make(
    _ type: any Mixer.Type, _ sizes: MixerSizes, present: Set<String>, _ options: MixerOptions,
    gradients: Bool
  ) throws -> any Mixer {
    for demand in type.demands(for: options)
    where !demand.isOptional || present.contains(demand.name) {
      for name in demand.dimensions
      where name != "tokens" && name != "keys" && sizes.find(name) == 0 {
        throw UserError(
          "\(demand.name) has a \(name) of 0; only the number of tokens may be 0.")
      }
    }
    let mixer: any Mixer
    do throws(MixerError) {
      mixer = try type.init(sizes, present: present, options: options)
    } catch {
      throw UserError.usage(error.description)
    }
    guard mixer.hasGradients || !gradients else {
      throw UserError.usage(
        "--gradients goes with factors, not with a matrix that is factorized; factorize it once, "
          + "and give e and d of the output.")
    }
    return mixer
  }
}
