import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { escaped, html } from '../../src/report/markup.ts';

describe('a template', () => {
  it('escapes what is put into it, unless that is HTML already', () => {
    const inner = html`<b>${'<&>"\''}</b>`;
    expect(html`<p title="${'"x'}">${inner}${[1, null, 'two']}</p>`.text).toBe(
      '<p title="&quot;x"><b>&lt;&amp;&gt;&quot;&#39;</b>1two</p>',
    );
  });

  it('lets nothing through that could end an element or an attribute', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(escaped(text)).not.toMatch(/[<>"']|&(?!amp;|lt;|gt;|quot;|#39;)/);
      }),
    );
  });

  it('shows what would hide or turn text around', () => {
    expect(escaped('a\u{202e}b\0c\u{200b}d')).toBe('a\u{fffd}b\u{fffd}c\u{fffd}d');
  });
});
