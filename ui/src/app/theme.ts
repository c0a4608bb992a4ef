import { type Theme, webDarkTheme, webLightTheme } from "@fluentui/react-components";

const fonts = {
  // Segoe where the system has it (Windows); elsewhere Inter, which ships with the portal: nothing is fetched from outside.
  fontFamilyBase: "'Segoe UI Variable Text', 'Segoe UI', 'Inter Variable', system-ui, sans-serif",
  fontFamilyMonospace: "'Cascadia Code', 'JetBrains Mono Variable', Consolas, 'Courier New', monospace",
  fontFamilyNumeric: "'Segoe UI Variable Text', 'Segoe UI', 'Inter Variable', system-ui, sans-serif",
};

export const lightTheme: Theme = { ...webLightTheme, ...fonts };

export const darkTheme: Theme = {
  ...webDarkTheme,
  ...fonts,
  // Fluent's dark greys, one step calmer: cards lift off the canvas without borders shouting.
  colorNeutralBackground1: "#202124",
  colorNeutralBackground1Hover: "#2b2c30",
  colorNeutralBackground1Pressed: "#1a1b1d",
  colorNeutralBackground1Selected: "#2f3136",
  colorNeutralBackground2: "#191a1c",
  colorNeutralBackground3: "#141517",
  colorNeutralBackground4: "#101113",
  colorSubtleBackgroundHover: "#2b2c30",
  colorSubtleBackgroundPressed: "#27282b",
  colorSubtleBackgroundSelected: "#2f3136",
  colorNeutralStroke1: "#4a4c52",
  colorNeutralStroke2: "#36383d",
  colorNeutralStroke3: "#2a2c30",
};
