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
  products: [
    .library(name: "MPI", targets: ["MPI"])
  ],
  dependencies: [
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2")
  ],
  targets: [
    .systemLibrary(
      name: "COpenMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev"])]),

    .target(
      name: "MPI", dependencies: ["COpenMPI"], swiftSettings: settings),

    .executableTarget(
      name: "mpi-checks", dependencies: ["MPI"], path: "Tests/Programs/mpi-checks",
      swiftSettings: settings),

    .target(
      name: "TestSupport",
      dependencies: [.product(name: "Subprocess", package: "swift-subprocess")],
      path: "Tests/TestSupport", swiftSettings: settings),

    .testTarget(
      name: "MPITests", dependencies: ["MPI", "TestSupport", "mpi-checks"],
      swiftSettings: settings),
  ]
)
