/** The bell. */
export function Logo({ size = 24 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" fill="#0f548c" />
      <path
        d="M16 5.500c-.9 0-1.600.7-1.600 1.600v.6C10.900 8.400 8.600 11.300 8.600 15v4.300l-1.900 2.900c-.5.8.1 1.800 1 1.800h16.600c.9 0 1.500-1 1-1.800l-1.900-2.900V15c0-3.700-2.300-6.600-5.800-7.300v-.6c0-.9-.7-1.600-1.600-1.600z"
        fill="#fff"
      />
      <path d="M12.800 25.400a3.300 3.300 0 0 0 6.400 0z" fill="#62abf5" />
    </svg>
  );
}
