// swift-tools-version: 6.2
import PackageDescription

/// The instruction set to compile for: `GYRE_MARCH=native swift build …` overrides it.
///
/// Without a target flag x86-64 Swift has no fused multiply–add, and the kernels would run about
/// a hundred times slower. On arm64 the baseline already has NEON and FMA.
#if arch(x86_64)
  let defaultMarch: String? = "x86-64-v3"
#else
  let defaultMarch: String? = nil
#endif
let march = Context.environment["GYRE_MARCH"] ?? defaultMarch

var settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableExperimentalFeature("Lifetimes"),
]
if let march {
  settings.append(.unsafeFlags(["-Xcc", "-march=\(march)"]))
}
if Context.environment["CI"] != nil {
  settings.append(.treatAllWarnings(as: .error))
}

let package = Package(
  name: "gyre",
  products: [],
  dependencies: [],
  targets: [
    .testTarget(name: "LaunchTests", swiftSettings: settings)
  ]
)
